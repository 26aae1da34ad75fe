#include "core/cuda/backend.h"

#include "core/cuda/kernels.h"

namespace photon::cuda {

const Backend& CudaBackend() {
  static const Backend kBackend = {};
  return kBackend;
}

}  // namespace photon::cuda
