// Creating an HDF5 file that is on disk when the call returns, and whose failure leaves HDF5 unharmed.
//
// HDF5 does not survive a full disk: after a failed write, closing the file flushes and fails again, and so does the
// library's exit handler. Here it writes through a driver of ours, which remembers the first failure and from then on
// swallows what it is given; HDF5 closes in peace, the file is refused afterwards. The files are ordinary HDF5.
#pragma once

#include <functional>
#include <string>

#include "checkpoint/hdf5.h"
#include "configs/checkpoint.pb.h"
#include "core/status.h"

namespace photon {

// Creates `dir`/`name` (must not exist), lets `fill` write into the open file, closes, flushes to disk. Returns name,
// size and checksum. No time stamps: what `fill` writes determines every byte. Takes the HDF5 lock itself.
// kResourceExhausted where there is no room, with the file's name; the file may be left there, half-written.
absl::StatusOr<ManifestFile> CreateHdf5File(const std::string& dir, const std::string& name,
                                            const std::function<absl::Status(hid_t file)>& fill);

}  // namespace photon
