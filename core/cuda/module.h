// What libphoton_cuda.so gives the program. The module is built with nvcc, apart from the program, and loaded only
// where a driver is: its libraries take 94 MB and a quarter of a second that a CPU run must not pay.
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "core/backend.h"
#include "core/device.h"

namespace photon {

class Communicator;  // parallel/communicator.h

namespace cuda {

struct Module {
  const char* interface;  // the program uses a module only where this is its own PHOTON_INTERFACE
  absl::StatusOr<int> (*count_devices)();
  absl::StatusOr<std::unique_ptr<OpenedDevice>> (*open)(int index);
  // parallel/cuda/nccl.h: whether NCCL can be loaded, and a communicator over it.
  absl::Status (*check_nccl)();
  absl::StatusOr<std::unique_ptr<Communicator>> (*open_nccl)(std::unique_ptr<Communicator> host,
                                                             const Context& context);
};

inline constexpr char kModuleFile[] = "libphoton_cuda.so";
inline constexpr char kModuleEntry[] = "PhotonCudaModule";

}  // namespace cuda
}  // namespace photon

// The module's only visible symbol.
extern "C" const photon::cuda::Module* PhotonCudaModule();
