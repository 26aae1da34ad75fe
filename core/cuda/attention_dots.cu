// dout . out of each row and head, which the backward pass of attention over long streams begins with. Bytes: both
// tensors read once, the floor.
#include <algorithm>
#include <bit>

#include "core/cuda/attention_stream.h"
#include "core/cuda/launch.h"
#include "core/cuda/vector.h"

namespace photon::cuda {
namespace {

constexpr int kThreads = 256;

template <typename T>
struct Matrix {
  explicit Matrix(const Tensor& t) : data(t.data<T>()), stride(t.stride(0)) {}
  T* data;
  int64_t stride;
};

// A block a row; blockDim (lanes of a head, heads), whole warps, lanes a power of two. Neighbours read neighbours.
template <typename T, int N, typename A = AccumulateType<T>>
__global__ void __launch_bounds__(kThreads)
    OutputDotsKernel(Matrix<T> dout, Matrix<T> out, Matrix<A> dots, int heads, int head_dim) {
  const int64_t row = blockIdx.x;
  const int lanes = static_cast<int>(blockDim.x), lane = static_cast<int>(threadIdx.x);
  for (int first = 0; first < heads; first += static_cast<int>(blockDim.y)) {
    const int head = first + static_cast<int>(threadIdx.y);
    A sum = 0;
    for (int c = head < heads ? lane * N : head_dim; c < head_dim; c += lanes * N) {
      const int64_t column = int64_t{head} * head_dim + c;
      Raw<T, N> x, y;
      x.Load(dout.data + row * dout.stride + column);
      y.Load(out.data + row * out.stride + column);
      A xs[N], ys[N];
      x.Unpack(xs);
      y.Unpack(ys);
#pragma unroll
      for (int i = 0; i < N; ++i) sum += xs[i] * ys[i];
    }
    for (int step = lanes / 2; step > 0; step /= 2) sum += __shfl_xor_sync(kAllLanes, sum, step);
    if (lane == 0 && head < heads) dots.data[head * dots.stride + row] = sum;
  }
}

// With the longest vectors, of N elements or fewer, that heads divide into.
template <typename T, int N>
void LaunchDots(const Context& context, const Tensor& dout, const Tensor& out, const ops::AttentionShape& shape,
                const Tensor& dots) {
  using A = AccumulateType<T>;
  if constexpr (N > 1) {
    if (shape.head_dim % N != 0 || !AllVectorizable(N, dout, out)) {
      return LaunchDots<T, N / 2>(context, dout, out, shape, dots);
    }
  }
  const int lanes = static_cast<int>(std::min<uint64_t>(kWarp, std::bit_ceil<uint64_t>(shape.head_dim / N)));
  const int together = kWarp / lanes;  // heads of a warp
  const int heads = std::min<int>(kThreads / lanes, CeilDiv(shape.heads, together) * together);
  Launch(context, "attention_backward", OutputDotsKernel<T, N>, static_cast<unsigned>(out.dim(0)), dim3(lanes, heads),
         0, Matrix<T>(dout), Matrix<T>(out), Matrix<A>(dots), shape.heads, static_cast<int>(shape.head_dim));
}

}  // namespace

void OutputDots(const Context& context, const Tensor& dout, const Tensor& out, const ops::AttentionShape& shape,
                const Tensor& dots) {
  VisitFloat(out.dtype(), [&](auto tag) {
    using T = decltype(tag);
    LaunchDots<T, kVector<T>>(context, dout, out, shape, dots);
  });
}

}  // namespace photon::cuda
