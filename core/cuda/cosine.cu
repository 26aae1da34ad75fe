// Cosine distance between rows, a row to a warp or a block. Bytes: a and b read once, da and db written once: the
// floor. The row stays in registers on the way; what doesn't fit there is read a second time, from a cache.
#include "core/cuda/kernels.h"
#include "core/cuda/launch.h"
#include "core/cuda/vector.h"
#include "core/cuda/warp.h"

namespace photon::cuda {
namespace {

constexpr int kThreads = 256;  // where a row is a warp's
constexpr int kMostThreads = 512;
constexpr int kHeld = 4;         // vectors of each operand that a thread keeps
constexpr double kFloor = 1e-8;  // of a norm

template <typename A>
struct Sums {
  A aa = 0, bb = 0, ab = 0;

  template <int N>
  __device__ __forceinline__ void Add(const Raw<A, N>& a, const Raw<A, N>& b) {
    A x[N], y[N];
    a.Unpack(x);
    b.Unpack(y);
#pragma unroll
    for (int k = 0; k < N; ++k) {
      aa += x[k] * x[k];
      bb += y[k] * y[k];
      ab += x[k] * y[k];
    }
  }
};

// own x - cross other: the gradient to x, scale (x cos / |x|^2 - other / (|x| |other|)); at the floor, own is 0.
template <typename A, int N>
__device__ __forceinline__ void StoreGradient(const Raw<A, N>& x, const Raw<A, N>& other, A own, A cross, A* out) {
  A values[N], others[N];
  x.Unpack(values);
  other.Unpack(others);
#pragma unroll
  for (int k = 0; k < N; ++k) values[k] = own * values[k] - cross * others[k];
  Raw<A, N> gradient;
  gradient.Pack(values);
  gradient.Store(out);
}

// blockDim (threads of a row, rows); more than a warp to a row: one row to a block. scale, da, db may be null.
template <typename A, int N>
__global__ void __launch_bounds__(kMostThreads)
    CosineKernel(const A* a, const A* b, int64_t rows, int64_t width, const A* scale, A* distance, A* da, A* db) {
  __shared__ A scratch[3][kWarp];
  const int64_t row = int64_t{blockIdx.x} * blockDim.y + threadIdx.y, vectors = width / N, step = blockDim.x;
  if (row >= rows) return;  // a whole warp, or none of the block
  a += row * width;
  b += row * width;
  Raw<A, N> x[kHeld], y[kHeld];
#pragma unroll
  for (int h = 0; h < kHeld; ++h) {
    const int64_t v = threadIdx.x + h * step;
    if (v >= vectors) continue;
    x[h].Load(a + v * N);
    y[h].Load(b + v * N);
  }
  Sums<A> sums;
#pragma unroll
  for (int h = 0; h < kHeld; ++h) {
    if (threadIdx.x + h * step < vectors) sums.Add(x[h], y[h]);
  }
  for (int64_t v = threadIdx.x + kHeld * step; v < vectors; v += step) {
    Raw<A, N> more_x, more_y;
    more_x.Load(a + v * N);
    more_y.Load(b + v * N);
    sums.Add(more_x, more_y);
  }
  const bool one_warp = blockDim.x == kWarp;
  const A aa = one_warp ? WarpSum(sums.aa) : BlockSum(sums.aa, scratch[0]);
  const A bb = one_warp ? WarpSum(sums.bb) : BlockSum(sums.bb, scratch[1]);
  const A ab = one_warp ? WarpSum(sums.ab) : BlockSum(sums.ab, scratch[2]);
  constexpr A floor = static_cast<A>(kFloor);
  const A norm_a = sqrt(aa), norm_b = sqrt(bb);
  const A inverse_a = 1 / max(norm_a, floor), inverse_b = 1 / max(norm_b, floor);
  const A cosine = ab * inverse_a * inverse_b;
  if (threadIdx.x == 0) distance[row] = 1 - cosine;
  if (scale == nullptr) return;
  const A cross = scale[row] * inverse_a * inverse_b, own = scale[row] * cosine;
  const A own_a = norm_a > floor ? own * inverse_a * inverse_a : 0;
  const A own_b = norm_b > floor ? own * inverse_b * inverse_b : 0;
  const auto store = [&](const Raw<A, N>& of_a, const Raw<A, N>& of_b, int64_t v) {
    if (da != nullptr) StoreGradient(of_a, of_b, own_a, cross, da + row * width + v * N);
    if (db != nullptr) StoreGradient(of_b, of_a, own_b, cross, db + row * width + v * N);
  };
#pragma unroll
  for (int h = 0; h < kHeld; ++h) {
    const int64_t v = threadIdx.x + h * step;
    if (v < vectors) store(x[h], y[h], v);
  }
  for (int64_t v = threadIdx.x + kHeld * step; v < vectors; v += step) {
    Raw<A, N> more_x, more_y;
    more_x.Load(a + v * N);
    more_y.Load(b + v * N);
    store(more_x, more_y, v);
  }
}

template <typename A>
A* DataOrNull(const Tensor& t) {
  return t.defined() ? t.data<A>() : nullptr;
}

template <typename A, int N>
void Run(const Context& context, const Tensor& a, const Tensor& b, const Tensor& scale, const Tensor& distance,
         const Tensor& da, const Tensor& db) {
  const int64_t rows = a.dim(0), width = a.dim(1);
  const int64_t wanted = CeilDiv(CeilDiv(width / N, kHeld), kWarp) * kWarp;
  const auto x = static_cast<unsigned>(std::clamp<int64_t>(wanted, kWarp, kMostThreads));
  const unsigned y = x == kWarp ? kThreads / kWarp : 1;
  Launch(context, "cosine", CosineKernel<A, N>, static_cast<unsigned>(CeilDiv(rows, y)), dim3(x, y), 0, a.data<A>(),
         b.data<A>(), rows, width, DataOrNull<A>(scale), distance.data<A>(), DataOrNull<A>(da), DataOrNull<A>(db));
}

template <typename A>
void Run(const Context& context, const Tensor& a, const Tensor& b, const Tensor& scale, const Tensor& distance,
         const Tensor& da, const Tensor& db) {
  constexpr int N = kVector<A>;
  const bool whole =
      a.dim(1) % N == 0 && Vectorizable(a, N) && Vectorizable(b, N) && Vectorizable(da, N) && Vectorizable(db, N);
  whole ? Run<A, N>(context, a, b, scale, distance, da, db) : Run<A, 1>(context, a, b, scale, distance, da, db);
}

}  // namespace

void CosineForward(const Context& context, const Tensor& a, const Tensor& b, const Tensor& scale,
                   const Tensor& distance, const Tensor& da, const Tensor& db) {
  a.dtype() == DType::kF64 ? Run<double>(context, a, b, scale, distance, da, db)
                           : Run<float>(context, a, b, scale, distance, da, db);
}

}  // namespace photon::cuda
