#include "core/cuda/backend.h"

#include "core/cuda/kernels.h"

namespace photon::cuda {

const Backend& CudaBackend() {
  static const Backend kBackend = {
      .cast = Cast,
      .add = Add,
      .sum_rows = SumRows,
  };
  return kBackend;
}

}  // namespace photon::cuda
