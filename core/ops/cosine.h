// Cosine distance between rows: the reconstruction loss L_rec.
#pragma once

#include "core/context.h"
#include "core/tape.h"

namespace photon::ops {

// distance[i] = 1 - cos(a_i, b_i), norms floored at 1e-8. With `scale` defined, also the gradients of
// sum_i scale[i] distance[i]: da and db overwritten (each may be undefined: not wanted). A norm at its floor is a
// constant to the gradient.
//   a, b, da, db [N, W] f32 (f64), contiguous; scale, distance [N] of that type.
using CosineForwardFn = void(const Context& context, const Tensor& a, const Tensor& b, const Tensor& scale,
                             const Tensor& distance, const Tensor& da, const Tensor& db);
CosineForwardFn CosineForward;

// A sink, as CrossEntropy is. Detach b for the stop-gradient.
void CosineDistance(Tape& tape, const Var& a, const Var& b, const Tensor& scale, const Tensor& distance);

}  // namespace photon::ops
