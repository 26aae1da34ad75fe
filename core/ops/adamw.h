// AdamW (Loshchilov and Hutter 2019) over flat buffers, and the decision whether a step may update anything.
//
// What changes from step to step lies in device memory, in `control`: the host writes its first part before a step,
// Clip decides, AdamW obeys, and nobody waits.
#pragma once

#include "core/context.h"

namespace photon::ops {

// Elements of `control`, f64 [kAdamWControls].
enum AdamWControl : int {
  kLearningRate,
  kBiasCorrection1,  // 1 - beta1^t, t = number of this update, from 1
  kBiasCorrection2,  // 1 - beta2^t
  kClipNorm,         // larger gradients are scaled down to it; infinity: none are
  kLargestNorm,      // a step with a larger one is skipped; infinity: none is
  kGradientNorm,     // written by Clip
  kGradientScale,    // written by Clip: what gradients are multiplied by; negative: the step is skipped
  kAdamWControls,
};

// The gradient's norm and scale, from its sum of squares:
//   norm = sqrt(sum_squares[0]); scale = -1 where norm or one of `losses` is not finite, or norm > largest norm;
//   clip norm / norm where norm > clip norm; else 1.
//   sum_squares f64 [1]; losses f64 [n], n may be 0; control as above.
using ClipFn = void(const Context& context, const Tensor& sum_squares, const Tensor& losses, const Tensor& control);

struct AdamWStep {
  double beta1 = 0.9;
  double beta2 = 0.95;
  double eps = 1e-8;
  double weight_decay = 0;  // decoupled: p -= lr * weight_decay * p
};

// Where the gradient scale is negative: nothing is changed. Else g' = g * scale; m = b1 m + (1 - b1) g';
// v = b2 v + (1 - b2) g'^2; p -= lr (m^ / (sqrt(v^) + eps) + weight_decay p); copy = p, rounded.
//   p, g, m, v: contiguous, one shape, one type of f32, f64. copy: bf16 of that shape, contiguous, with p f32; or
//   undefined. control f64 [kAdamWControls].
using AdamWFn = void(const Context& context, const AdamWStep& step, const Tensor& control, const Tensor& p,
                     const Tensor& g, const Tensor& m, const Tensor& v, const Tensor& copy);
ClipFn Clip;
AdamWFn AdamW;

}  // namespace photon::ops
