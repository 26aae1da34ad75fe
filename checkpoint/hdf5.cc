#include "checkpoint/hdf5.h"

namespace photon::hdf5 {
namespace {

// The one piece of process-wide state: the library behind it is process-wide too.
absl::Mutex& LibraryMutex() {
  static absl::Mutex* const mutex = new absl::Mutex;  // never destroyed: exit handlers may still run HDF5
  return *mutex;
}

}  // namespace

Lock::Lock() ABSL_NO_THREAD_SAFETY_ANALYSIS {
  LibraryMutex().Lock();
  H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
}

Lock::~Lock() ABSL_NO_THREAD_SAFETY_ANALYSIS { LibraryMutex().Unlock(); }

std::string LastError() {
  std::string message;
  H5Ewalk2(
      H5E_DEFAULT, H5E_WALK_UPWARD,
      [](unsigned depth, const H5E_error2_t* error, void* out) -> herr_t {
        if (depth == 0 && error->desc != nullptr) *static_cast<std::string*>(out) = error->desc;
        return 0;
      },
      &message);
  return message;
}

}  // namespace photon::hdf5
