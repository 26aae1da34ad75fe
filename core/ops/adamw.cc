#include "core/ops/adamw.h"

#include "core/backend.h"
#include "core/ops/checks.h"

namespace photon::ops {
namespace {

bool IsDoubles(const Tensor& t, int64_t n) {
  return t.defined() && t.contiguous() && t.shape() == Shape{n} && t.dtype() == DType::kF64;
}

}  // namespace

void Clip(const Context& context, const Tensor& sum_squares, const Tensor& losses, const Tensor& control) {
  PHOTON_CHECK(IsDoubles(sum_squares, 1) && losses.defined() && IsDoubles(losses, losses.elements()) &&
               IsDoubles(control, kAdamWControls))
      << "[clip] sum of squares " << sum_squares.ToString() << ", losses " << losses.ToString() << ", control "
      << control.ToString();
  context.backend().clip(context, sum_squares, losses, control);
}

void AdamW(const Context& context, const AdamWStep& step, const Tensor& control, const Tensor& p, const Tensor& g,
           const Tensor& m, const Tensor& v, const Tensor& copy) {
  const auto fits = [&](const Tensor& t) { return IsFlatFloat(t) && t.shape() == p.shape() && t.dtype() == p.dtype(); };
  const bool copies = copy.defined() && copy.contiguous() && copy.shape() == p.shape() &&
                      copy.dtype() == DType::kBF16 && p.dtype() == DType::kF32;
  PHOTON_CHECK(fits(p) && fits(g) && fits(m) && fits(v) && (copies || !copy.defined()))
      << "[adamw] p " << p.ToString() << ", g " << g.ToString() << ", m " << m.ToString() << ", v " << v.ToString()
      << ", copy " << copy.ToString();
  PHOTON_CHECK(IsDoubles(control, kAdamWControls) && step.beta1 < 1 && step.beta2 < 1)
      << "[adamw] control " << control.ToString() << ", betas " << step.beta1 << ", " << step.beta2;
  context.backend().adamw(context, step, control, p, g, m, v, copy);
}

}  // namespace photon::ops
