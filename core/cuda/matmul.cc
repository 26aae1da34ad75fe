// Which way a matrix product goes: few rows through a kernel that reads the weights once, the rest through cuBLASLt,
// and what that refuses through a plain kernel.
#include <algorithm>

#include "core/cuda/kernels.h"
#include "core/cuda/matmul_kernels.h"
#include "core/cuda/matrix_products.h"
#include "core/cuda/queue.h"

namespace photon::cuda {
namespace {

// The library adds a bias of the output's type alone, ours is f32; and none in f64.
bool LibraryTakesBias(const Tensor& bias, const Tensor& c) { return !bias.defined() || c.dtype() == DType::kF32; }

}  // namespace

void MatMul(const Context& context, const Tensor& a, bool transpose_a, const Tensor& b, bool transpose_b,
            const Tensor& bias, float beta, const Tensor& c) {
  if (c.elements() == 0) return;
  const int64_t k = a.dim(transpose_a ? 0 : 1);
  const bool few = c.dim(0) <= kMostFewRows || context.batch_invariant();
  if (few && !transpose_a && transpose_b && k > 0 && a.dtype() != DType::kF64) {
    for (int64_t row = 0; row < c.dim(0); row += kMostFewRows) {
      const int64_t end = std::min(row + kMostFewRows, c.dim(0));
      MultiplyFewRows(context, a.Rows(row, end), b, bias, beta, c.Rows(row, end));
    }
    return;
  }
  if (k > 0 && LibraryTakesBias(bias, c) &&
      QueueOf(context).products->Multiply(context, a, transpose_a, b, transpose_b, bias, beta, c)) {
    return;
  }
  MultiplyPlainly(context, a, transpose_a, b, transpose_b, bias, beta, c);
}

}  // namespace photon::cuda
