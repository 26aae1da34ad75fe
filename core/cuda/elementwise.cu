// Conversions and sums. Bytes an element: Cast reads in and writes out; Add reads in and out and writes out: the floor.
// SumRows reads in once; what it writes is small beside that.
#include "core/cuda/kernels.h"
#include "core/cuda/launch.h"
#include "core/cuda/vector.h"
#include "core/cuda/warp.h"

namespace photon::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kBlocksPerMultiprocessor = 4;  // all resident: a second wave would end unevenly

// Vectors that a thread has in flight; of Add, from both operands.
template <bool kAdd>
constexpr int kUnrolled = kAdd ? 2 : 4;

template <typename Out, typename In>
__device__ __forceinline__ AccumulateType<Out> Widen(In value) {
  return static_cast<AccumulateType<Out>>(static_cast<AccumulateType<In>>(value));
}

// out = in, or out += in. Rows of `width` elements, strides in elements; vectors of N, each row's rest one by one.
template <typename In, typename Out, int N, bool kAdd>
__global__ void __launch_bounds__(kThreads, kBlocksPerMultiprocessor)
    ConvertKernel(const In* in, int64_t in_stride, Out* out, int64_t out_stride, int64_t rows, int64_t width) {
  using A = AccumulateType<Out>;
  constexpr int kUnroll = kUnrolled<kAdd>;
  RowWalk walk = ThreadsWalk((width + N - 1) / N);
  while (walk.row() < rows) {
    Raw<In, N> from[kUnroll];
    Raw<Out, N> before[kUnroll];
    Out* to[kUnroll];
#pragma unroll
    for (int u = 0; u < kUnroll; ++u, walk.Advance()) {
      to[u] = nullptr;
      if (walk.row() >= rows) continue;
      const int64_t column = walk.item() * N;
      const In* source = in + walk.row() * in_stride + column;
      Out* target = out + walk.row() * out_stride + column;
      if (column + N <= width) {
        to[u] = target;
        from[u].Load(source);
        if constexpr (kAdd) before[u].Load(target);
      } else {
        for (int64_t i = 0; i < width - column; ++i) {
          target[i] = Out((kAdd ? static_cast<A>(target[i]) : A(0)) + Widen<Out>(source[i]));
        }
      }
    }
#pragma unroll
    for (int u = 0; u < kUnroll; ++u) {
      if (to[u] == nullptr) continue;
      AccumulateType<In> values[N];
      A sums[N] = {};
      from[u].Unpack(values);
      if constexpr (kAdd) before[u].Unpack(sums);
#pragma unroll
      for (int i = 0; i < N; ++i) sums[i] = kAdd ? sums[i] + static_cast<A>(values[i]) : static_cast<A>(values[i]);
      Raw<Out, N> result;
      result.Pack(sums);
      result.Store(to[u]);
    }
  }
}

template <typename In, typename Out, int N, bool kAdd>
void LaunchConvert(const Context& context, const char* operation, const Tensor& in, const Tensor& out) {
  // One row where both are contiguous: whole vectors but for one rest.
  const bool flat = in.contiguous() && out.contiguous();
  const int64_t rows = flat ? 1 : in.dim(0), width = flat ? in.elements() : in.dim(1);
  const unsigned grid =
      StrideGrid(context, rows * CeilDiv(width, N), kThreads * kUnrolled<kAdd>, kBlocksPerMultiprocessor);
  Launch(context, operation, ConvertKernel<In, Out, N, kAdd>, grid, kThreads, 0, in.data<In>(),
         flat ? width : in.stride(0), out.data<Out>(), flat ? width : out.stride(0), rows, width);
}

template <bool kAdd>
void Convert(const Context& context, const char* operation, const Tensor& in, const Tensor& out) {
  if (in.elements() == 0) return;
  if (in.rank() > 1 && in.contiguous() && out.contiguous()) {  // one row: odd widths are no matter
    return Convert<kAdd>(context, operation, in.Reshape({in.elements()}), out.Reshape({out.elements()}));
  }
  VisitFloat(in.dtype(), [&](auto in_tag) {
    VisitFloat(out.dtype(), [&](auto out_tag) {
      using In = decltype(in_tag);
      using Out = decltype(out_tag);
      constexpr int N = kVector<In, Out>;
      if (AllVectorizable(N, in, out)) {
        LaunchConvert<In, Out, N, kAdd>(context, operation, in, out);
      } else {
        LaunchConvert<In, Out, 1, kAdd>(context, operation, in, out);
      }
    });
  });
}

// out[block y][j] = sum over this block's rows of in[., j], or added to what is there. Thread (x, y) sums the columns
// of vector x of the block's over every blockDim.y-th row, then thread row 0 adds up the others' sums in order.
template <typename T, int N>
__global__ void __launch_bounds__(1024) SumRowsKernel(const T* in, int64_t stride, int64_t rows, int64_t width,
                                                      int64_t rows_per_block, AccumulateType<T>* out, bool add) {
  using A = AccumulateType<T>;
  A* shared = DynamicShared<A>();  // [blockDim.y, blockDim.x, N]
  const int64_t column = (int64_t{blockIdx.x} * blockDim.x + threadIdx.x) * N;
  const int64_t begin = blockIdx.y * rows_per_block, end = min(rows, begin + rows_per_block);
  A sums[N] = {};
  if (column + N <= width) {
#pragma unroll 4
    for (int64_t i = begin + threadIdx.y; i < end; i += blockDim.y) {
      Raw<T, N> raw;
      A values[N];
      raw.Load(in + i * stride + column);
      raw.Unpack(values);
#pragma unroll
      for (int k = 0; k < N; ++k) sums[k] += values[k];
    }
  }
#pragma unroll
  for (int k = 0; k < N; ++k) shared[(threadIdx.y * blockDim.x + threadIdx.x) * N + k] = sums[k];
  __syncthreads();
  if (threadIdx.y != 0 || column + N > width) return;
  AccumulateType<T>* target = out + blockIdx.y * width + column;
#pragma unroll
  for (int k = 0; k < N; ++k) {
    for (unsigned y = 1; y < blockDim.y; ++y) sums[k] += shared[(y * blockDim.x + threadIdx.x) * N + k];
    target[k] = add ? target[k] + sums[k] : sums[k];
  }
}

// Blocks of kWarp vectors of columns by `y` threads; `chunks` blocks share the rows.
template <typename T, int N>
void LaunchSumRows(const Context& context, const Tensor& in, int y, int64_t chunks, const Tensor& out, bool add) {
  const dim3 grid(static_cast<unsigned>(CeilDiv(in.dim(1), kWarp * N)), static_cast<unsigned>(chunks));
  const dim3 block(kWarp, y);
  const size_t shared = sizeof(AccumulateType<T>) * kWarp * y * N;
  Launch(context, "sum_rows", SumRowsKernel<T, N>, grid, block, shared, in.data<T>(), in.stride(0), in.dim(0),
         in.dim(1), CeilDiv(in.dim(0), chunks), out.data<AccumulateType<T>>(), add);
}

template <typename T, int N>
void SumRowsOf(const Context& context, const Tensor& in, const Tensor& out) {
  constexpr int kRowThreads = 8;
  constexpr int64_t kRowsPerChunk = 128;  // at least: a chunk costs a row of f32 written and read
  const int64_t rows = in.dim(0), width = in.dim(1);
  const int64_t tiles = CeilDiv(width, kWarp * N);
  const int64_t wanted = CeilDiv(int64_t{QueueOf(context).multiprocessors} * kBlocksPerMultiprocessor, tiles);
  const int64_t chunks = std::min(wanted, CeilDiv(rows, kRowsPerChunk));
  if (chunks <= 1) return LaunchSumRows<T, N>(context, in, kRowThreads, 1, out, /*add=*/true);
  const Tensor parts = context.Empty({chunks, width}, out.dtype());
  LaunchSumRows<T, N>(context, in, kRowThreads, chunks, parts, /*add=*/false);
  LaunchSumRows<AccumulateType<T>, 1>(context, parts, kWarp, 1, out, /*add=*/true);
}

}  // namespace

void Cast(const Context& context, const Tensor& in, const Tensor& out) { Convert<false>(context, "cast", in, out); }

void Add(const Context& context, const Tensor& in, const Tensor& out) { Convert<true>(context, "add", in, out); }

// The rows are cut into chunks by the device's size and their number alone: the order of a sum is fixed.
void SumRows(const Context& context, const Tensor& in, const Tensor& out) {
  if (in.elements() == 0) return;
  VisitFloat(in.dtype(), [&](auto tag) {
    using T = decltype(tag);
    constexpr int N = kVector<T>;
    if (in.dim(1) % N == 0 && Vectorizable(in, N)) {
      SumRowsOf<T, N>(context, in, out);
    } else {
      SumRowsOf<T, 1>(context, in, out);
    }
  });
}

}  // namespace photon::cuda
