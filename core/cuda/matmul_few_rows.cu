// Products of a few rows with a matrix, as in decoding: bound by reading B once. For f32, and rows of bf16 that tensor
// cores can't take as they lie (matmul_few_rows_mma.cu).
//
// A block takes a few rows of B; its threads share out k, in vectors of 16 bytes, and each multiplies what it has read
// with all rows of A, which stay in the caches. A thread's sum, the warp's and the block's are taken in an order that
// depends on k alone.
#include "core/cuda/kernels.h"
#include "core/cuda/launch.h"
#include "core/cuda/matmul_kernels.h"
#include "core/cuda/vector.h"
#include "core/cuda/warp.h"

namespace photon::cuda {
namespace {

constexpr int kThreads = 128;
constexpr int kWarps = kThreads / kWarp;

// Rows of B that a block takes: more of them reuse what was read of A, up to what a thread's registers hold.
template <int kRows>
constexpr int kColumns = kRows == 16 ? 2 : 4;

template <typename In, typename Out, int kRows, int N>
__global__ void __launch_bounds__(kThreads)
    FewRowsKernel(const In* a, int64_t a_stride, const In* b, int64_t b_stride, const float* bias, bool accumulate,
                  Out* c, int64_t c_stride, int rows, int64_t columns, int64_t k) {
  constexpr int kCols = kColumns<kRows>;
  __shared__ float sums[kWarps][kRows * kCols];
  const int64_t first = int64_t{blockIdx.x} * kCols;
  float sum[kRows][kCols] = {};
  for (int64_t at = int64_t{threadIdx.x} * N; at < k; at += kThreads * N) {
    Raw<In, N> weights[kCols];
#pragma unroll
    for (int j = 0; j < kCols; ++j) {
      if (first + j < columns) weights[j].Load(b + (first + j) * b_stride + at);
    }
    float w[kCols][N];
#pragma unroll
    for (int j = 0; j < kCols; ++j) {
      if (first + j < columns) {
        weights[j].Unpack(w[j]);
      } else {
#pragma unroll
        for (int i = 0; i < N; ++i) w[j][i] = 0;
      }
    }
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
      if (r >= rows) continue;
      Raw<In, N> raw;
      raw.LoadShared(a + r * a_stride + at);
      float x[N];
      raw.Unpack(x);
#pragma unroll
      for (int i = 0; i < N; ++i) {
#pragma unroll
        for (int j = 0; j < kCols; ++j) sum[r][j] = fmaf(x[i], w[j][i], sum[r][j]);
      }
    }
  }
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
#pragma unroll
  for (int r = 0; r < kRows; ++r) {
#pragma unroll
    for (int j = 0; j < kCols; ++j) {
      const float total = WarpSum(sum[r][j]);
      if (lane == 0) sums[warp][r * kCols + j] = total;
    }
  }
  __syncthreads();
  const int row = static_cast<int>(threadIdx.x) / kCols;
  const int64_t column = first + threadIdx.x % kCols;
  if (row >= rows || column >= columns) return;
  float total = 0;
#pragma unroll
  for (int w = 0; w < kWarps; ++w) total += sums[w][threadIdx.x];
  if (bias != nullptr) total += bias[column];
  Out* out = c + row * c_stride + column;
  *out = Out(accumulate ? total + static_cast<float>(*out) : total);
}

template <typename In, typename Out, int kRows, int N>
void QueueProduct(const Context& context, const Tensor& a, const Tensor& b, const Tensor& bias, float beta,
                  const Tensor& c) {
  static_assert(kRows * kColumns<kRows> <= kThreads);
  Launch(context, "matmul", FewRowsKernel<In, Out, kRows, N>,
         dim3(static_cast<unsigned>(CeilDiv(c.dim(1), kColumns<kRows>))), dim3(kThreads), 0, a.data<In>(), a.stride(0),
         b.data<In>(), b.stride(0), static_cast<const float*>(DataOrNull<float>(bias)), beta == 1, c.data<Out>(),
         c.stride(0), static_cast<int>(c.dim(0)), c.dim(1), a.dim(1));
}

template <typename In, typename Out, int N>
void QueueRows(const Context& context, const Tensor& a, const Tensor& b, const Tensor& bias, float beta,
               const Tensor& c) {
  if (c.dim(0) == 1) {
    QueueProduct<In, Out, 1, N>(context, a, b, bias, beta, c);
  } else if (c.dim(0) <= 4) {
    QueueProduct<In, Out, 4, N>(context, a, b, bias, beta, c);
  } else {
    QueueProduct<In, Out, kMostFewRows, N>(context, a, b, bias, beta, c);
  }
}

// Whether every row begins at a multiple of 16 bytes and ends with a whole vector. Of a single row too: it is to go the
// way that it goes with others.
bool RowsAreVectors(const Tensor& t, int vector) {
  return reinterpret_cast<uintptr_t>(t.raw()) % kAccess == 0 && t.dim(1) % vector == 0 && t.stride(0) % vector == 0;
}

}  // namespace

void MultiplyFewRows(const Context& context, const Tensor& a, const Tensor& b, const Tensor& bias, float beta,
                     const Tensor& c) {
  const int vector = kAccess / static_cast<int>(ByteSize(a.dtype()));
  const bool whole = RowsAreVectors(a, vector) && RowsAreVectors(b, vector);
  if (a.dtype() == DType::kF32) {
    (whole ? QueueRows<float, float, kVector<float>> : QueueRows<float, float, 1>)(context, a, b, bias, beta, c);
  } else if (whole) {
    MultiplyFewRowsMma(context, a, b, bias, beta, c);
  } else if (c.dtype() == DType::kF32) {
    QueueRows<BFloat16, float, 1>(context, a, b, bias, beta, c);
  } else {
    QueueRows<BFloat16, BFloat16, 1>(context, a, b, bias, beta, c);
  }
}

}  // namespace photon::cuda
