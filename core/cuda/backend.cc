#include "core/cuda/backend.h"

#include "core/cuda/kernels.h"

namespace photon::cuda {

const Backend& CudaBackend() {
  static const Backend kBackend = {
      .cast = Cast,
      .add = Add,
      .sum_rows = SumRows,
      .rms_norm_forward = RmsNormForward,
      .rms_norm_backward = RmsNormBackward,
      .rope = Rope,
      .swiglu_forward = SwiGluForward,
      .swiglu_backward = SwiGluBackward,
      .sum_squares = SumSquares,
      .accumulate_sum = AccumulateSum,
      .clip = Clip,
      .adamw = AdamW,
  };
  return kBackend;
}

}  // namespace photon::cuda
