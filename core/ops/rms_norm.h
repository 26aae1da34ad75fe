// RMSNorm (Zhang and Sennrich 2019), fused with the residual addition before it.
#pragma once

#include "core/context.h"
#include "core/tape.h"

namespace photon::ops {

// sum = x + delta;  rstd = 1 / sqrt(mean(sum^2) + eps);  y = sum * rstd * weight.
//   x [N, W] f32 (f64); delta [N, W] f32/bf16 (f64) or undefined; weight [W] of x's type; sum [N, W] of x's type, or
//   undefined where delta is (then sum = x); y [N, W] f32/bf16 (f64); rstd [N] of x's type, or undefined. All
//   contiguous.
using RmsNormForwardFn = void(const Context& context, const Tensor& x, const Tensor& delta, const Tensor& weight,
                              double eps, const Tensor& sum, const Tensor& y, const Tensor& rstd);
// dx = dsum + gradient of y with respect to sum; dweight += gradient of the weight, rows summed in a fixed order.
//   x: the forward's `sum`; dy [N, W] of y's type; dsum [N, W] of x's type or undefined (gradient that reaches `sum`
//   along the residual); dx [N, W] of x's type, may be dsum itself; ddelta [N, W] of delta's type, or undefined: dx
//   again, converted; dweight [W] of x's type, or undefined. All contiguous.
using RmsNormBackwardFn = void(const Context& context, const Tensor& dy, const Tensor& x, const Tensor& weight,
                               const Tensor& rstd, const Tensor& dsum, const Tensor& dx, const Tensor& ddelta,
                               const Tensor& dweight);
RmsNormForwardFn RmsNormForward;
RmsNormBackwardFn RmsNormBackward;

struct ResidualNorm {
  Var sum;         // the residual stream after the addition
  Var normalized;  // of `output` type
};
// `delta` may be a default Var; then sum is x.
ResidualNorm AddRmsNorm(Tape& tape, const Var& x, const Var& delta, const Weight& weight, double eps, DType output);

}  // namespace photon::ops
