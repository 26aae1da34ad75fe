// A GPU for tests of what is above the operations: those that have a CPU beside
// it, to compare.
#pragma once

#include <memory>

#include "core/check.h"
#include "core/cuda/opened_device.h"
#include "tests/support/tensors.h"

namespace photon::testing {

// The emulated one (tests/simt), unless PHOTON_TEST_DEVICE=cuda says that there
// is a real one.
inline std::unique_ptr<OpenedDevice> OpenGpu(int index = 0) {
  absl::StatusOr<std::unique_ptr<OpenedDevice>> device =
      OnCpu() ? cuda::OpenCudaDevice(index) : OpenedDevice::Open("cuda");
  PHOTON_CHECK(device.ok()) << device.status().ToString();
  return *std::move(device);
}

}  // namespace photon::testing
