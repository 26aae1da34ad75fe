#include "core/ops/adamw.h"

#include "core/backend.h"

namespace photon::ops {
namespace {

bool IsFlatFloat(const Tensor& t) {
  return t.defined() && t.contiguous() && (t.dtype() == DType::kF32 || t.dtype() == DType::kF64);
}

}  // namespace

void AdamW(const Context& context, const AdamWStep& step, const Tensor& p, const Tensor& g, const Tensor& m,
           const Tensor& v) {
  const auto fits = [&](const Tensor& t) { return IsFlatFloat(t) && t.shape() == p.shape() && t.dtype() == p.dtype(); };
  PHOTON_CHECK(fits(p) && fits(g) && fits(m) && fits(v))
      << "[adamw] p " << p.ToString() << ", g " << g.ToString() << ", m " << m.ToString() << ", v " << v.ToString();
  PHOTON_CHECK(step.t >= 1 && step.beta1 < 1 && step.beta2 < 1)
      << "[adamw] step " << step.t << ", betas " << step.beta1 << ", " << step.beta2;
  context.backend().adamw(context, step, p, g, m, v);
}

void SumSquares(const Context& context, const Tensor& x, const Tensor& out) {
  PHOTON_CHECK(IsFlatFloat(x) && out.defined() && out.shape() == Shape{1} && out.dtype() == DType::kF64)
      << "[sum_squares] x " << x.ToString() << ", out " << out.ToString();
  context.backend().sum_squares(context, x, out);
}

}  // namespace photon::ops
