// A CUDA device as core/device.h wants it.
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "core/device.h"

namespace photon::cuda {

// How many devices this process sees. kUnavailable, with what to do, where the driver can't be used or there is none.
absl::StatusOr<int> CountDevices();
// Device `index` of those. kUnavailable where it can't be used: too old a chip, busy, no such index.
absl::StatusOr<std::unique_ptr<OpenedDevice>> OpenCudaDevice(int index);

}  // namespace photon::cuda
