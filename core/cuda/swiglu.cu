// SwiGLU. Bytes an element of y, of b-byte type: forward reads gate and up and writes y, 3 b; backward reads dy, gate
// and up and writes both gradients, 5 b: each operand once, the floor.
#include "core/cuda/exponential.h"
#include "core/cuda/kernels.h"
#include "core/cuda/launch.h"
#include "core/cuda/vector.h"

namespace photon::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kBlocksPerMultiprocessor = 4;  // all resident: a second wave would end unevenly
constexpr int kUnroll = 2;                   // vectors of each operand that a thread has in flight

__device__ __forceinline__ double Sigmoid(double x, double) { return 1 / (1 + exp(-x)); }
__device__ __forceinline__ float Sigmoid(float x, float) { return 1 / (1 + expf(-x)); }
// For values that are rounded to bf16: exp to |x| ulp, the quotient to 2.
__device__ __forceinline__ float Sigmoid(float x, BFloat16) { return __fdividef(1.0f, 1 + Exp2(-kLog2E * x)); }

// gate_up [rows, 2 width]; width is a multiple of N.
template <typename T, int N>
__global__ void __launch_bounds__(kThreads, kBlocksPerMultiprocessor)
    ForwardKernel(const T* gate_up, T* y, int64_t rows, int64_t width) {
  using A = AccumulateType<T>;
  RowWalk walk = ThreadsWalk(width / N);
  while (walk.row() < rows) {
    Raw<T, N> gate[kUnroll], up[kUnroll];
    int64_t at[kUnroll];
#pragma unroll
    for (int k = 0; k < kUnroll; ++k, walk.Advance()) {
      at[k] = walk.row() < rows ? walk.row() * width + walk.item() * N : -1;
      if (at[k] < 0) continue;
      const T* source = gate_up + at[k] + walk.row() * width;
      gate[k].Load(source);
      up[k].Load(source + width);
    }
#pragma unroll
    for (int k = 0; k < kUnroll; ++k) {
      if (at[k] < 0) continue;
      A g[N], u[N];
      gate[k].Unpack(g);
      up[k].Unpack(u);
#pragma unroll
      for (int i = 0; i < N; ++i) u[i] *= g[i] * Sigmoid(g[i], T{});
      up[k].Pack(u);
      up[k].Store(y + at[k]);
    }
  }
}

// dgate_up may be gate_up: a thread writes only where it alone has read.
template <typename T, int N>
__global__ void __launch_bounds__(kThreads, kBlocksPerMultiprocessor)
    BackwardKernel(const T* dy, const T* gate_up, T* dgate_up, int64_t rows, int64_t width) {
  using A = AccumulateType<T>;
  RowWalk walk = ThreadsWalk(width / N);
  while (walk.row() < rows) {
    Raw<T, N> gradient[kUnroll], gate[kUnroll], up[kUnroll];
    int64_t at[kUnroll];  // of the gate; the up value lies `width` further
#pragma unroll
    for (int k = 0; k < kUnroll; ++k, walk.Advance()) {
      at[k] = walk.row() < rows ? 2 * walk.row() * width + walk.item() * N : -1;
      if (at[k] < 0) continue;
      gradient[k].Load(dy + at[k] - walk.row() * width);
      gate[k].Load(gate_up + at[k]);
      up[k].Load(gate_up + at[k] + width);
    }
#pragma unroll
    for (int k = 0; k < kUnroll; ++k) {
      if (at[k] < 0) continue;
      A d[N], g[N], u[N];
      gradient[k].Unpack(d);
      gate[k].Unpack(g);
      up[k].Unpack(u);
#pragma unroll
      for (int i = 0; i < N; ++i) {
        const A s = Sigmoid(g[i], T{}), value = g[i];
        g[i] = d[i] * u[i] * s * (1 + value * (1 - s));
        u[i] = d[i] * value * s;
      }
      gate[k].Pack(g);
      up[k].Pack(u);
      gate[k].Store(dgate_up + at[k]);
      up[k].Store(dgate_up + at[k] + width);
    }
  }
}

// Calls f(T{}, N) with the type of y and the elements of a vector, N being a std::integral_constant.
template <typename F>
void VisitVectors(const Tensor& y, const Tensor& gate_up, const Tensor& dgate_up, F&& f) {
  VisitFloat(y.dtype(), [&](auto tag) {
    constexpr int N = kVector<decltype(tag)>;
    const bool whole = y.dim(1) % N == 0 && AllVectorizable(N, y, gate_up, dgate_up);
    whole ? f(tag, std::integral_constant<int, N>()) : f(tag, std::integral_constant<int, 1>());
  });
}

unsigned Grid(const Context& context, int64_t vectors) {
  return StrideGrid(context, vectors, kThreads * kUnroll, kBlocksPerMultiprocessor);
}

}  // namespace

void SwiGluForward(const Context& context, const Tensor& gate_up, const Tensor& y) {
  if (y.elements() == 0) return;
  VisitVectors(y, gate_up, {}, [&](auto tag, auto n) {
    using T = decltype(tag);
    Launch(context, "swiglu", ForwardKernel<T, n>, Grid(context, y.elements() / n), kThreads, 0, gate_up.data<T>(),
           y.data<T>(), y.dim(0), y.dim(1));
  });
}

void SwiGluBackward(const Context& context, const Tensor& dy, const Tensor& gate_up, const Tensor& dgate_up) {
  if (dy.elements() == 0) return;
  VisitVectors(dy, gate_up, dgate_up, [&](auto tag, auto n) {
    using T = decltype(tag);
    Launch(context, "swiglu_backward", BackwardKernel<T, n>, Grid(context, dy.elements() / n), kThreads, 0,
           dy.data<T>(), gate_up.data<T>(), dgate_up.data<T>(), dy.dim(0), dy.dim(1));
  });
}

}  // namespace photon::cuda
