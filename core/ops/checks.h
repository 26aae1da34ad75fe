// What the checks of several operations share.
#pragma once

#include "core/tensor.h"

namespace photon::ops {

inline bool IsFloating(const Tensor& t) {
  return t.dtype() == DType::kF64 || t.dtype() == DType::kF32 || t.dtype() == DType::kBF16;
}

// What sums over flat buffers and the optimizer take: contiguous, in a type that is summed in.
inline bool IsFlatFloat(const Tensor& t) {
  return t.defined() && t.contiguous() && (t.dtype() == DType::kF32 || t.dtype() == DType::kF64);
}

// Rank 2, each row contiguous; rows may be strided.
inline bool IsMatrix(const Tensor& t) { return t.rank() == 2 && t.stride(1) == 1; }

// A gradient as the [rows, columns] matrix that its node made: it may arrive under another shape (Var::Reshape).
inline Tensor AsMatrix(const Tensor& t, int64_t rows, int64_t columns) {
  return t.shape() == Shape{rows, columns} ? t : t.Reshape({rows, columns});
}

}  // namespace photon::ops
