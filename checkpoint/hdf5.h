// HDF5 as the store uses it: one lock, handles that close themselves, errors as text instead of on the terminal.
#pragma once

#include <hdf5.h>

#include <string>
#include <utility>

#include "absl/synchronization/mutex.h"

namespace photon::hdf5 {

// Held around every use of the library, handles included: the distribution's parallel build is not thread-safe, and
// ranks may be threads of one process. Never held across a collective. Also silences HDF5's own error printing.
class ABSL_SCOPED_LOCKABLE Lock {
 public:
  Lock();
  ~Lock();
  Lock(const Lock&) = delete;
  Lock& operator=(const Lock&) = delete;
};

// Owns an HDF5 identifier. Negative: the call that made it failed.
class Handle {
 public:
  using Close = herr_t (*)(hid_t);
  Handle(hid_t id, Close close) : id_(id), close_(close) {}
  Handle(Handle&& other) noexcept : id_(std::exchange(other.id_, H5I_INVALID_HID)), close_(other.close_) {}
  Handle& operator=(Handle&&) = delete;
  ~Handle() { Reset(); }

  bool ok() const { return id_ >= 0; }
  hid_t get() const { return id_; }
  void Reset() {
    if (id_ >= 0) close_(id_);
    id_ = H5I_INVALID_HID;
  }

 private:
  hid_t id_;
  Close close_;
};

// What the innermost function said of the last failure, e.g. "unable to open file"; empty where nothing failed.
std::string LastError();

}  // namespace photon::hdf5
