// Matrix products and the linear layer.
#pragma once

#include "core/context.h"
#include "core/tape.h"

namespace photon::ops {

// C = op(A) op(B) + bias + beta C, accumulated in f32 (f64 for f64).
//   a  [M, K], or [K, M] with transpose_a; b  [K, N], or [N, K] with transpose_b; c [M, N]; bias [N] or undefined.
// a and b: one dtype of f64, f32, bf16. c: that dtype, or f32 where a and b are bf16. bias: f32 (f64 with f64).
// Rows may be strided. beta is 0 or 1; with 0, C's old content is not read. A row of C depends on the same row of
// op(A) alone, bit for bit, as long as the shapes are the same (on a GPU: shapes, strides, alignment of the addresses
// and the algorithm chosen, core/cuda/matrix_products.h); of C = A B^T with up to 16 rows in f32 or bf16, for any
// number of them.
using MatMulFn = void(const Context& context, const Tensor& a, bool transpose_a, const Tensor& b, bool transpose_b,
                      const Tensor& bias, float beta, const Tensor& c);
MatMulFn MatMul;

// y = x W^T + b. x [N, in] of the weight's compute type or of the master type (cast first), W [out, in], b [out] or
// null; y [N, out] of `output` type. Gradients: dx = dy W, dW += dy^T x, db += sum of dy's rows.
Var Linear(Tape& tape, const Var& x, const Weight& weight, const Weight* bias, DType output);

}  // namespace photon::ops
