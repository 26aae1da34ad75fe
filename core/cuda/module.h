// What libphoton_cuda.so gives the program. The module is built with nvcc, apart from the program, and loaded only
// where a driver is: its libraries take 94 MB and a quarter of a second that a CPU run must not pay.
#pragma once

#include <cstddef>
#include <memory>

#include "absl/status/statusor.h"
#include "core/backend.h"
#include "core/device.h"

namespace photon {

class Communicator;  // parallel/communicator.h

namespace cuda {

// The program uses a module only where the first two members say that both are of one build.
struct Module {
  const char* version;  // of the project
  size_t layout;
  absl::StatusOr<int> (*count_devices)();
  absl::StatusOr<std::unique_ptr<OpenedDevice>> (*open)(int index);
  // parallel/cuda/nccl.h: whether NCCL can be loaded, and a communicator over it.
  absl::Status (*check_nccl)();
  absl::StatusOr<std::unique_ptr<Communicator>> (*open_nccl)(std::unique_ptr<Communicator> host,
                                                             const Context& context);
};

// Changes with the tables and classes that program and module share.
inline constexpr size_t kLayout =
    sizeof(Backend) + 1009 * sizeof(Module) + 10007 * sizeof(Context) + 100003 * sizeof(Tensor);

inline constexpr char kModuleFile[] = "libphoton_cuda.so";
inline constexpr char kModuleEntry[] = "PhotonCudaModule";

}  // namespace cuda
}  // namespace photon

// The module's only visible symbol.
extern "C" const photon::cuda::Module* PhotonCudaModule();
