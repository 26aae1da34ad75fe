// RMSNorm, each row read once and kept in registers. Bytes an element, with the stream in f32 and the rest in bf16:
// forward 4 (x) + 2 (delta) + 4 (sum) + 2 (y) = 12; backward 4 (x) + 2 (dy) + 4 (dsum) + 4 (dx) + 2 (ddelta) = 16: the
// floor. The gradient of the weight is summed over a block's rows in registers, then over the blocks by SumRows: a
// block costs a row of f32 written and read.
#include "core/cuda/kernels.h"
#include "core/cuda/launch.h"
#include "core/cuda/vector.h"
#include "core/cuda/warp.h"

namespace photon::cuda {
namespace {

constexpr int kWarpRows = 8;      // rows side by side in a block where a warp has a row
constexpr int kBlockVectors = 2;  // vectors a thread keeps of a row that a block has
constexpr int kMostVectors = 4;   // .. that a warp has
// Threads of a row at most: twice the registers for f64.
template <typename A>
constexpr int kMostThreads = sizeof(A) > 4 ? 512 : 1024;

// Registers bound the blocks of a multiprocessor: 128 a thread, or 64.
template <int V>
constexpr int kThreadsPerMultiprocessor = V > 2 ? 512 : 1024;

// Over the threads of a row: a warp, or the block (of blockDim.x threads). `scratch`: kWarp values a call, of which the
// next call uses others: then one barrier is enough.
template <bool kBlock, typename A>
__device__ __forceinline__ A RowSum(A value, A* scratch) {
  value = WarpSum(value);
  if constexpr (!kBlock) return value;
  if (threadIdx.x % kWarp == 0) scratch[threadIdx.x / kWarp] = value;
  __syncthreads();
  const unsigned lane = threadIdx.x % kWarp;
  return WarpSum(lane < blockDim.x / kWarp ? scratch[lane] : A(0));
}

// The columns of a thread: vector v of them begins at this one. Widths are multiples of N.
template <int N>
__device__ __forceinline__ int64_t Column(int v) {
  return (int64_t{v} * blockDim.x + threadIdx.x) * N;
}

// Operands of both directions. Null: not there.
template <typename A, typename Delta, typename Y>
struct Forward {
  const A* x;
  const Delta* delta;
  const A* weight;
  A* sum;
  Y* y;
  A* rstd;
  int64_t rows, width;
  A eps;
};
template <typename A, typename Dy, typename Ddelta>
struct Backward {
  const Dy* dy;
  const A* x;
  const A* weight;
  const A* rstd;
  const A* dsum;
  A* dx;
  Ddelta* ddelta;
  A* parts;  // [blocks, width]: sums of dweight
  int64_t rows, width;
};

// A row has blockDim.x threads, of V vectors each; a block has blockDim.y rows at once, one where kBlock.
template <typename A, typename Delta, typename Y, int N, int V, bool kBlock>
__global__ void __launch_bounds__(kBlock ? kMostThreads<A> : kWarp* kWarpRows) ForwardKernel(Forward<A, Delta, Y> f) {
  __shared__ A scratch[2][kWarp];
  A weight[V][N];
#pragma unroll
  for (int v = 0; v < V; ++v) {
    if (Column<N>(v) >= f.width) continue;
    Raw<A, N> raw;
    raw.LoadShared(f.weight + Column<N>(v));
    raw.Unpack(weight[v]);
  }
  int turn = 0;
  for (int64_t i = int64_t{blockIdx.x} * blockDim.y + threadIdx.y; i < f.rows; i += int64_t{gridDim.x} * blockDim.y) {
    const int64_t row = i * f.width;
    Raw<A, N> x[V];
    Raw<Delta, N> delta[V];
#pragma unroll
    for (int v = 0; v < V; ++v) {
      if (Column<N>(v) >= f.width) continue;
      x[v].Load(f.x + row + Column<N>(v));
      if (f.delta != nullptr) delta[v].Load(f.delta + row + Column<N>(v));
    }
    A values[V][N], squares = 0;
#pragma unroll
    for (int v = 0; v < V; ++v) {
      if (Column<N>(v) >= f.width) continue;
      x[v].Unpack(values[v]);
      if (f.delta != nullptr) {
        A deltas[N];
        delta[v].Unpack(deltas);
#pragma unroll
        for (int k = 0; k < N; ++k) values[v][k] += deltas[k];
        x[v].Pack(values[v]);
        x[v].Store(f.sum + row + Column<N>(v));
      }
#pragma unroll
      for (int k = 0; k < N; ++k) squares += values[v][k] * values[v][k];
    }
    const A rstd = 1 / sqrt(RowSum<kBlock>(squares, scratch[turn]) / static_cast<A>(f.width) + f.eps);
    turn ^= 1;
    if (f.rstd != nullptr && threadIdx.x == 0) f.rstd[i] = rstd;
#pragma unroll
    for (int v = 0; v < V; ++v) {
      if (Column<N>(v) >= f.width) continue;
#pragma unroll
      for (int k = 0; k < N; ++k) values[v][k] *= rstd * weight[v][k];
      Raw<Y, N> y;
      y.Pack(values[v]);
      y.Store(f.y + row + Column<N>(v));
    }
  }
}

// Sums of dweight of the rows that a block has side by side, in order; thread row 0 gets them.
template <typename A, int N, int V>
__device__ __forceinline__ void AddThreadRows(A (&sums)[V][N]) {
  __shared__ A total[V][kWarp][N];
  for (int y = blockDim.y - 1; y >= 0; --y) {
#pragma unroll
    for (int v = 0; v < V && y == static_cast<int>(threadIdx.y); ++v) {
#pragma unroll
      for (int k = 0; k < N; ++k) {
        if (y + 1 < static_cast<int>(blockDim.y)) sums[v][k] += total[v][threadIdx.x][k];
        total[v][threadIdx.x][k] = sums[v][k];
      }
    }
    __syncthreads();
  }
}

// With n = x rstd, the normalized row: dweight += dy n; dx = dsum + rstd (dy w - n mean(dy w n)).
template <typename A, typename Dy, typename Ddelta, int N, int V, bool kBlock>
__global__ void __launch_bounds__(kBlock ? kMostThreads<A> : kWarp* kWarpRows)
    BackwardKernel(Backward<A, Dy, Ddelta> b) {
  __shared__ A scratch[2][kWarp];
  A weight[V][N], dweight[V][N] = {};
#pragma unroll
  for (int v = 0; v < V; ++v) {
    if (Column<N>(v) >= b.width) continue;
    Raw<A, N> raw;
    raw.LoadShared(b.weight + Column<N>(v));
    raw.Unpack(weight[v]);
  }
  int turn = 0;
  for (int64_t i = int64_t{blockIdx.x} * blockDim.y + threadIdx.y; i < b.rows; i += int64_t{gridDim.x} * blockDim.y) {
    const int64_t row = i * b.width;
    Raw<A, N> x[V], dsum[V];
    Raw<Dy, N> dy[V];
#pragma unroll
    for (int v = 0; v < V; ++v) {
      if (Column<N>(v) >= b.width) continue;
      x[v].Load(b.x + row + Column<N>(v));
      dy[v].Load(b.dy + row + Column<N>(v));
      if (b.dsum != nullptr) dsum[v].Load(b.dsum + row + Column<N>(v));
    }
    const A rstd = b.rstd[i];
    A products = 0;
#pragma unroll
    for (int v = 0; v < V; ++v) {
      if (Column<N>(v) >= b.width) continue;
      A n[N], d[N];
      x[v].Unpack(n);
      dy[v].Unpack(d);
#pragma unroll
      for (int k = 0; k < N; ++k) {
        const A gradient = d[k] * (n[k] * rstd);
        dweight[v][k] += gradient;
        products += gradient * weight[v][k];
      }
    }
    const A mean = RowSum<kBlock>(products, scratch[turn]) / static_cast<A>(b.width);
    turn ^= 1;
#pragma unroll
    for (int v = 0; v < V; ++v) {
      if (Column<N>(v) >= b.width) continue;
      A n[N], d[N], result[N] = {};
      x[v].Unpack(n);
      dy[v].Unpack(d);
      if (b.dsum != nullptr) dsum[v].Unpack(result);
#pragma unroll
      for (int k = 0; k < N; ++k) result[k] += rstd * (d[k] * weight[v][k] - n[k] * rstd * mean);
      x[v].Pack(result);
      x[v].Store(b.dx + row + Column<N>(v));
      if (b.ddelta != nullptr) {
        Raw<Ddelta, N> ddelta;
        ddelta.Pack(result);
        ddelta.Store(b.ddelta + row + Column<N>(v));
      }
    }
  }
  if (b.parts == nullptr) return;
  if constexpr (!kBlock) AddThreadRows(dweight);
  if (threadIdx.y != 0) return;
#pragma unroll
  for (int v = 0; v < V; ++v) {
    if (Column<N>(v) >= b.width) continue;
    Raw<A, N> raw;
    raw.Pack(dweight[v]);
    raw.Store(b.parts + blockIdx.x * b.width + Column<N>(v));
  }
}

// Any width and alignment, element by element: a block has a row, reads it twice, the second time from the caches.
constexpr int kLoopThreads = 256;  // at most

template <typename A, typename Delta, typename Y>
__global__ void __launch_bounds__(kLoopThreads) ForwardLoopKernel(Forward<A, Delta, Y> f) {
  __shared__ A scratch[2][kWarp];
  int turn = 0;
  for (int64_t i = blockIdx.x; i < f.rows; i += gridDim.x) {
    const int64_t row = i * f.width;
    A squares = 0;
    for (int64_t j = threadIdx.x; j < f.width; j += blockDim.x) {
      A value = f.x[row + j];
      if (f.delta != nullptr) f.sum[row + j] = value += static_cast<A>(f.delta[row + j]);
      squares += value * value;
    }
    const A rstd = 1 / sqrt(RowSum<true>(squares, scratch[turn]) / static_cast<A>(f.width) + f.eps);
    turn ^= 1;
    if (f.rstd != nullptr && threadIdx.x == 0) f.rstd[i] = rstd;
    const A* values = f.delta != nullptr ? f.sum : f.x;
    for (int64_t j = threadIdx.x; j < f.width; j += blockDim.x) {
      f.y[row + j] = Y(values[row + j] * (rstd * f.weight[j]));
    }
  }
}

template <typename A, typename Dy, typename Ddelta>
__global__ void __launch_bounds__(kLoopThreads) BackwardLoopKernel(Backward<A, Dy, Ddelta> b) {
  __shared__ A scratch[2][kWarp];
  A* part = b.parts != nullptr ? b.parts + blockIdx.x * b.width : nullptr;
  for (int64_t j = threadIdx.x; part != nullptr && j < b.width; j += blockDim.x) part[j] = 0;
  int turn = 0;
  for (int64_t i = blockIdx.x; i < b.rows; i += gridDim.x) {
    const int64_t row = i * b.width;
    const A rstd = b.rstd[i];
    A products = 0;
    for (int64_t j = threadIdx.x; j < b.width; j += blockDim.x) {
      const A gradient = static_cast<A>(b.dy[row + j]) * (b.x[row + j] * rstd);
      if (part != nullptr) part[j] += gradient;
      products += gradient * b.weight[j];
    }
    const A mean = RowSum<true>(products, scratch[turn]) / static_cast<A>(b.width);
    turn ^= 1;
    for (int64_t j = threadIdx.x; j < b.width; j += blockDim.x) {
      A d = rstd * (static_cast<A>(b.dy[row + j]) * b.weight[j] - b.x[row + j] * rstd * mean);
      if (b.dsum != nullptr) d += b.dsum[row + j];
      b.dx[row + j] = d;
      if (b.ddelta != nullptr) b.ddelta[row + j] = Ddelta(d);
    }
  }
}

// How a row is shared among threads.
struct Rows {
  int vectors = 0;  // 0: by the loop kernels
  bool block = false;
  unsigned threads = kWarp;    // a row's
  unsigned together = 1;       // rows of a block
  int per_multiprocessor = 4;  // blocks

  unsigned Grid(const Context& context, int64_t rows) const {
    return StrideGrid(context, rows, static_cast<int>(together), per_multiprocessor);
  }
};

// N: elements of a vector; 1 where the operands allow none.
template <typename A>
Rows ShareRows(int64_t width, int N) {
  if (N == 1 || width % N != 0 || width > int64_t{kMostThreads<A>} * kBlockVectors * N) {
    return {.threads = static_cast<unsigned>(std::min<int64_t>(kLoopThreads, CeilDiv(width, kWarp) * kWarp))};
  }
  const int64_t vectors = width / N;
  if (vectors <= kWarp * kMostVectors) {
    const int a_thread = vectors <= kWarp ? 1 : vectors <= 2 * kWarp ? 2 : kMostVectors;
    const int threads = a_thread > 2 ? kThreadsPerMultiprocessor<kMostVectors> : kThreadsPerMultiprocessor<2>;
    return {a_thread, false, kWarp, kWarpRows, threads / (kWarp * kWarpRows)};
  }
  unsigned threads = kWarp;
  while (threads * kBlockVectors < vectors) threads *= 2;
  return {kBlockVectors, true, threads, 1, kThreadsPerMultiprocessor<kBlockVectors> / static_cast<int>(threads)};
}

// Calls f(V, kBlock) with both as std::integral_constant; V = 0: by the loop kernels.
template <typename F>
void VisitRows(const Rows& rows, F&& f) {
  using std::integral_constant;
  if (rows.vectors == 0) return f(integral_constant<int, 0>(), std::true_type());
  if (rows.block) return f(integral_constant<int, kBlockVectors>(), std::true_type());
  if (rows.vectors == 1) return f(integral_constant<int, 1>(), std::false_type());
  if (rows.vectors == 2) return f(integral_constant<int, 2>(), std::false_type());
  f(integral_constant<int, kMostVectors>(), std::false_type());
}

template <typename F>
void VisitStream(DType dtype, F&& f) {
  dtype == DType::kF64 ? f(double{}) : f(float{});
}

}  // namespace

void RmsNormForward(const Context& context, const Tensor& x, const Tensor& delta, const Tensor& weight, double eps,
                    const Tensor& sum, const Tensor& y, const Tensor& rstd) {
  if (x.elements() == 0) return;
  VisitStream(x.dtype(), [&](auto x_tag) {
    using A = decltype(x_tag);
    VisitComputedIn<A>(delta.dtype(), [&](auto delta_tag) {
      VisitComputedIn<A>(y.dtype(), [&](auto y_tag) {
        using Delta = decltype(delta_tag);
        using Y = decltype(y_tag);
        constexpr int N = kVector<A>;
        const Forward<A, Delta, Y> forward = {
            x.data<A>(),        DataOrNull<Delta>(delta), weight.data<A>(), DataOrNull<A>(sum),
            y.data<Y>(),        DataOrNull<A>(rstd),      x.dim(0),         x.dim(1),
            static_cast<A>(eps)};
        const Rows rows = ShareRows<A>(x.dim(1), AllVectorizable(N, x, delta, weight, sum, y) ? N : 1);
        VisitRows(rows, [&](auto v, auto block) {
          const auto kernel = [&] {
            if constexpr (v == 0) {
              return ForwardLoopKernel<A, Delta, Y>;
            } else {
              return ForwardKernel<A, Delta, Y, N, v, block>;
            }
          }();
          Launch(context, "rms_norm", kernel, rows.Grid(context, x.dim(0)), dim3(rows.threads, rows.together), 0,
                 forward);
        });
      });
    });
  });
}

void RmsNormBackward(const Context& context, const Tensor& dy, const Tensor& x, const Tensor& weight,
                     const Tensor& rstd, const Tensor& dsum, const Tensor& dx, const Tensor& ddelta,
                     const Tensor& dweight) {
  if (x.elements() == 0) return;
  VisitStream(x.dtype(), [&](auto x_tag) {
    using A = decltype(x_tag);
    VisitComputedIn<A>(dy.dtype(), [&](auto dy_tag) {
      VisitComputedIn<A>(ddelta.dtype(), [&](auto ddelta_tag) {
        using Dy = decltype(dy_tag);
        using Ddelta = decltype(ddelta_tag);
        constexpr int N = kVector<A>;
        const Rows rows = ShareRows<A>(x.dim(1), AllVectorizable(N, dy, x, weight, dsum, dx, ddelta) ? N : 1);
        const unsigned grid = rows.Grid(context, x.dim(0));
        const Tensor parts = dweight.defined() ? context.Empty({grid, x.dim(1)}, x.dtype()) : Tensor();
        const Backward<A, Dy, Ddelta> backward = {dy.data<Dy>(),
                                                  x.data<A>(),
                                                  weight.data<A>(),
                                                  rstd.data<A>(),
                                                  DataOrNull<A>(dsum),
                                                  dx.data<A>(),
                                                  DataOrNull<Ddelta>(ddelta),
                                                  DataOrNull<A>(parts),
                                                  x.dim(0),
                                                  x.dim(1)};
        VisitRows(rows, [&](auto v, auto block) {
          const auto kernel = [&] {
            if constexpr (v == 0) {
              return BackwardLoopKernel<A, Dy, Ddelta>;
            } else {
              return BackwardKernel<A, Dy, Ddelta, N, v, block>;
            }
          }();
          Launch(context, "rms_norm_backward", kernel, grid, dim3(rows.threads, rows.together), 0, backward);
        });
        if (dweight.defined()) SumRows(context, parts, dweight);
      });
    });
  });
}

}  // namespace photon::cuda
