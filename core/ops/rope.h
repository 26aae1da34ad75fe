// Rotary position embedding (Su et al. 2021), rotate-half pairing: dimension i with i + d/2.
#pragma once

#include "core/context.h"

namespace photon::ops {

// Rotates every head of every row of x in place by the angles of its position; `inverse` rotates back (the gradient).
//   x [N, H * d] floating, rows may be strided; positions i32 [N]; table [P, d] f32 (f64 with f64): row p holds
//   cos(p w_i), i < d/2, then sin(p w_i). Positions are below P: the caller's promise.
using RopeFn = void(const Context& context, const Tensor& x, int64_t head_dim, const Tensor& positions,
                    const Tensor& table, bool inverse);
RopeFn Rope;

// The table of `positions` rows, w_i = theta^(-2i/d), computed in double precision.
Tensor RopeTable(const Context& context, int64_t positions, int64_t head_dim, double theta, DType dtype);

}  // namespace photon::ops
