// Matrix products of our own, for what cuBLASLt does not do or does not do as core/ops/matmul.h promises.
#pragma once

#include "core/context.h"

namespace photon::cuda {

inline constexpr int64_t kMostFewRows = 16;

// C = A B^T + bias + beta C with up to kMostFewRows rows, f32 and bf16. B is read once. Sums don't depend on the number
// of rows.
void MultiplyFewRows(const Context& context, const Tensor& a, const Tensor& b, const Tensor& bias, float beta,
                     const Tensor& c);

// The same of bf16 by tensor cores, for MultiplyFewRows(): rows of a and b begin at multiples of 16 bytes and hold
// whole vectors of eight.
void MultiplyFewRowsMma(const Context& context, const Tensor& a, const Tensor& b, const Tensor& bias, float beta,
                        const Tensor& c);

// Any product of core/ops/matmul.h, slowly.
void MultiplyPlainly(const Context& context, const Tensor& a, bool transpose_a, const Tensor& b, bool transpose_b,
                     const Tensor& bias, float beta, const Tensor& c);

}  // namespace photon::cuda
