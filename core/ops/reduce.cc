#include "core/ops/reduce.h"

#include "core/backend.h"
#include "core/ops/checks.h"

namespace photon::ops {
namespace {

bool IsScalar(const Tensor& t) { return t.defined() && t.shape() == Shape{1} && t.dtype() == DType::kF64; }

}  // namespace

void SumSquares(const Context& context, const Tensor& x, const Tensor& out) {
  PHOTON_CHECK(IsFlatFloat(x) && IsScalar(out)) << "[sum_squares] x " << x.ToString() << ", out " << out.ToString();
  context.backend().sum_squares(context, x, out);
}

void AccumulateSum(const Context& context, const Tensor& x, const Tensor& mask, const Tensor& out) {
  const bool masked = mask.defined() && mask.contiguous() && mask.dtype() == DType::kI32 && mask.shape() == x.shape();
  PHOTON_CHECK(IsFlatFloat(x) && x.rank() == 1 && (masked || !mask.defined()) && IsScalar(out))
      << "[accumulate_sum] x " << x.ToString() << ", mask " << mask.ToString() << ", out " << out.ToString();
  context.backend().accumulate_sum(context, x, mask, out);
}

}  // namespace photon::ops
