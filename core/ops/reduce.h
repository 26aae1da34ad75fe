// Sums over whole tensors, in f64, in an order that is the same in every run and for any number of threads.
#pragma once

#include "core/context.h"

namespace photon::ops {

// out[0] = sum of squares of x. x contiguous f32/f64; out f64 [1].
using SumSquaresFn = void(const Context& context, const Tensor& x, const Tensor& out);
// out[0] += sum of x[i] over all i, or, with a mask, over those with mask[i] != 0 (whatever the others hold).
//   x contiguous f32/f64 [N]; mask i32 [N] or undefined; out f64 [1].
using AccumulateSumFn = void(const Context& context, const Tensor& x, const Tensor& mask, const Tensor& out);
SumSquaresFn SumSquares;
AccumulateSumFn AccumulateSum;

}  // namespace photon::ops
