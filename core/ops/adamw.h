// AdamW (Loshchilov and Hutter 2019) and the global gradient norm, over flat buffers.
#pragma once

#include "core/context.h"

namespace photon::ops {

struct AdamWStep {
  double lr = 0;
  double beta1 = 0.9;
  double beta2 = 0.95;
  double eps = 1e-8;
  double weight_decay = 0;    // decoupled: p -= lr * weight_decay * p
  double gradient_scale = 1;  // gradients are multiplied by it first (clipping)
  int64_t t = 1;              // number of this update, from 1: bias correction
};

// m = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g^2; p -= lr (m^ / (sqrt(v^) + eps) + weight_decay p).
//   p, g, m, v: contiguous, one shape, one type of f32, f64.
using AdamWFn = void(const Context& context, const AdamWStep& step, const Tensor& p, const Tensor& g, const Tensor& m,
                     const Tensor& v);
// out[0] = sum of squares of a contiguous f32/f64 tensor, accumulated in f64 in a fixed order whatever the number of
// threads. out f64 [1].
using SumSquaresFn = void(const Context& context, const Tensor& x, const Tensor& out);
AdamWFn AdamW;
SumSquaresFn SumSquares;

}  // namespace photon::ops
