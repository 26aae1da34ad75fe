// An HDF5 file laid out in memory: HDF5 decides where everything lies, and holds a few kilobytes of metadata; the
// tensors' bytes stay where they are, and go to disk in one pass from the first byte to the last.
//
// So a save touches every byte once: in blocks that stay in the processor's cache while they are summed and handed to
// the system. HDF5 itself writes no file, hence meets no full disk, which it would not survive (after a failed write
// closing the file fails, and so does its exit handler), and its lock is held for the layout alone.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "checkpoint/hdf5.h"
#include "core/status.h"

namespace photon {

// Bytes by address, as a driver of HDF5 sees a file; what was never written reads as zeros.
class Hdf5Metadata {
 public:
  void Write(uint64_t address, absl::string_view bytes);
  void Read(uint64_t address, char* out, size_t size) const;

 private:
  friend class Hdf5Image;
  static constexpr uint64_t kPage = 4096;
  std::map<uint64_t, std::string> pages_;  // by address / kPage, each kPage long
};

class Hdf5Image {
 public:
  // Makes an empty file in memory, lets `fill` write into it, and closes it. `name` is for messages. No time stamps:
  // what `fill` writes determines every byte. Takes the HDF5 lock itself.
  static absl::StatusOr<Hdf5Image> Create(const std::string& name,
                                          const std::function<absl::Status(hid_t file, Hdf5Image& image)>& fill);

  // The bytes of a dataset that is allocated in the file: contiguous, at `address`. Not copied: must stay as they are
  // until the image is written.
  void Place(uint64_t address, absl::string_view bytes) { placed_[address] = bytes; }

  uint64_t size() const { return size_; }
  // All bytes in order, in pieces of at most 1 MiB that end where `Place`d ones begin or end. Stops at the first error.
  absl::Status ForEachPiece(const std::function<absl::Status(absl::string_view)>& f) const;

 private:
  Hdf5Metadata metadata_;
  std::map<uint64_t, absl::string_view> placed_;
  uint64_t size_ = 0;
};

}  // namespace photon
