// Sums over whole tensors in f64. SumSquares reads each element once, the floor; AccumulateSum its mask, too.
#include "core/cuda/kernels.h"
#include "core/cuda/launch.h"
#include "core/cuda/vector.h"
#include "core/cuda/warp.h"

namespace photon::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kBlocksPerMultiprocessor = 4;  // all resident: a second wave would end unevenly
constexpr int kUnroll = 4;                   // vectors that a thread has in flight

// parts[block] = the block's share of the sum of squares; the elements after the last whole vector are the last
// block's.
template <typename T, int N>
__global__ void __launch_bounds__(kThreads) SumSquaresKernel(const T* x, int64_t n, double* parts) {
  __shared__ double scratch[kWarp];
  const int64_t vectors = n / N, threads = int64_t{gridDim.x} * kThreads;
  const int64_t thread = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  double sums[N] = {};
  for (int64_t i = thread; i < vectors; i += kUnroll * threads) {
    Raw<T, N> raw[kUnroll];
#pragma unroll
    for (int u = 0; u < kUnroll; ++u) {
      if (i + u * threads < vectors) raw[u].Load(x + (i + u * threads) * N);
    }
#pragma unroll
    for (int u = 0; u < kUnroll; ++u) {
      if (i + u * threads >= vectors) continue;
      T values[N];
      raw[u].Unpack(values);
#pragma unroll
      for (int k = 0; k < N; ++k) sums[k] += static_cast<double>(values[k]) * static_cast<double>(values[k]);
    }
  }
  if (blockIdx.x == gridDim.x - 1 && threadIdx.x < n % N) {
    const double value = x[vectors * N + threadIdx.x];
    sums[0] += value * value;
  }
  double sum = 0;
#pragma unroll
  for (int k = 0; k < N; ++k) sum += sums[k];
  sum = BlockSum(sum, scratch);
  if (threadIdx.x == 0) parts[blockIdx.x] = sum;
}

// mask may be null.
template <typename T>
__global__ void __launch_bounds__(kThreads) SumKernel(const T* x, const int32_t* mask, int64_t n, double* parts) {
  __shared__ double scratch[kWarp];
  double sum = 0;
  for (int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x; i < n; i += int64_t{gridDim.x} * kThreads) {
    if (mask == nullptr || mask[i] != 0) sum += static_cast<double>(x[i]);
  }
  sum = BlockSum(sum, scratch);
  if (threadIdx.x == 0) parts[blockIdx.x] = sum;
}

// out = or += the sum of the parts. One block.
__global__ void __launch_bounds__(kThreads) AddPartsKernel(const double* parts, int64_t n, double* out, bool add) {
  __shared__ double scratch[kWarp];
  double sum = 0;
  for (int64_t i = threadIdx.x; i < n; i += kThreads) sum += parts[i];
  sum = BlockSum(sum, scratch);
  if (threadIdx.x == 0) out[0] = add ? out[0] + sum : sum;
}

void AddParts(const Context& context, const char* operation, const Tensor& parts, const Tensor& out, bool add) {
  Launch(context, operation, AddPartsKernel, 1, kThreads, 0, parts.data<double>(), parts.elements(), out.data<double>(),
         add);
}

template <typename F>
void VisitWide(DType dtype, F&& f) {
  dtype == DType::kF64 ? f(double{}) : f(float{});
}

}  // namespace

void SumSquares(const Context& context, const Tensor& x, const Tensor& out) {
  constexpr char kName[] = "sum_squares";
  VisitWide(x.dtype(), [&](auto tag) {
    using T = decltype(tag);
    constexpr int N = kVector<T>;
    const unsigned grid = StrideGrid(context, x.elements(), kThreads * N * kUnroll, kBlocksPerMultiprocessor);
    const Tensor parts = context.Empty({grid}, DType::kF64);
    Launch(context, kName, Vectorizable(x, N) ? SumSquaresKernel<T, N> : SumSquaresKernel<T, 1>, grid, kThreads, 0,
           x.data<T>(), x.elements(), parts.data<double>());
    AddParts(context, kName, parts, out, /*add=*/false);
  });
}

void AccumulateSum(const Context& context, const Tensor& x, const Tensor& mask, const Tensor& out) {
  constexpr char kName[] = "accumulate_sum";
  if (x.elements() == 0) return;
  VisitWide(x.dtype(), [&](auto tag) {
    using T = decltype(tag);
    const unsigned grid = StrideGrid(context, x.elements(), kThreads, kBlocksPerMultiprocessor);
    const Tensor parts = context.Empty({grid}, DType::kF64);
    Launch(context, kName, SumKernel<T>, grid, kThreads, 0, x.data<T>(), DataOrNull<int32_t>(mask), x.elements(),
           parts.data<double>());
    AddParts(context, kName, parts, out, /*add=*/true);
  });
}

}  // namespace photon::cuda
