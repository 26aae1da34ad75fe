// Products of rows with a matrix of weights, C = A W^T: what decoding does, a token or a few chunks at a time.
//
// Such a product is bound by reading W, so W is read from memory once, in the order in which it lies. Every element of
// C is one chain of vector multiply-adds in the order of K, then one fixed tree over the lanes, whatever the number of
// rows and of threads: a row's result is the same, bit for bit, whichever rows it is computed with.
#pragma once

#include "core/context.h"

namespace photon::cpu {

// Above so many rows oneDNN is faster, or is taken to be: 128 in bf16 where this build has the processor's instruction
// for it and oneDNN no tiles (AMX), as measured on Zen 4 (build/bench/matmul prints both); 16 elsewhere.
int64_t MostFewRows(DType dtype);

// C = A W^T + bias + beta C, arguments as in core/ops/matmul.h: a [M, K], w [N, K], K >= 1, M >= 1; f32 or bf16.
void MultiplyRows(const Tensor& a, const Tensor& w, const Tensor& bias, float beta, const Tensor& c);

}  // namespace photon::cpu
