// AdamW and its decision. AdamW moves 28 bytes an f32 element, p, m and v read and written and g read, and 2 more for
// the bf16 copy: the floor.
#include "core/cuda/kernels.h"
#include "core/cuda/launch.h"
#include "core/cuda/vector.h"
#include "core/cuda/warp.h"

namespace photon::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kBlocksPerMultiprocessor = 4;  // all resident: a second wave would end unevenly

// The scalars of a step, folded: p -= rate * m / (sqrt(v) * v_scale + eps) + decay * p.
template <typename A>
struct Coefficients {
  __device__ Coefficients(const ops::AdamWStep& step, const double* control)
      : gradient_scale(control[ops::kGradientScale]),
        keep1(step.beta1),
        add1(1 - step.beta1),
        keep2(step.beta2),
        add2(1 - step.beta2),
        rate(control[ops::kLearningRate] / control[ops::kBiasCorrection1]),
        v_scale(1 / sqrt(control[ops::kBiasCorrection2])),
        eps(step.eps),
        decay(control[ops::kLearningRate] * step.weight_decay) {}

  __device__ __forceinline__ void Update(A& p, A g, A& m, A& v) const {
    g *= gradient_scale;
    m = keep1 * m + add1 * g;
    v = keep2 * v + add2 * (g * g);
    p -= rate * m / (sqrt(v) * v_scale + eps) + decay * p;
  }

  A gradient_scale, keep1, add1, keep2, add2, rate, v_scale, eps, decay;
};

template <typename A>
struct Buffers {
  A* p;
  const A* g;
  A* m;
  A* v;
  BFloat16* copy;  // null: none is wanted
  int64_t n;
};

template <typename A, int N>
__device__ __forceinline__ void UpdateVector(const Coefficients<A>& coefficients, const Buffers<A>& b, int64_t i) {
  Raw<A, N> p, g, m, v;
  p.Load(b.p + i);
  g.Load(b.g + i);
  m.Load(b.m + i);
  v.Load(b.v + i);
  A ps[N], gs[N], ms[N], vs[N];
  p.Unpack(ps);
  g.Unpack(gs);
  m.Unpack(ms);
  v.Unpack(vs);
#pragma unroll
  for (int k = 0; k < N; ++k) coefficients.Update(ps[k], gs[k], ms[k], vs[k]);
  p.Pack(ps);
  m.Pack(ms);
  v.Pack(vs);
  p.Store(b.p + i);
  m.Store(b.m + i);
  v.Store(b.v + i);
  if constexpr (std::is_same_v<A, float>) {
    if (b.copy == nullptr) return;
    Raw<BFloat16, N> copy;
    copy.Pack(ps);
    copy.Store(b.copy + i);
  }
}

// Vectors of N elements; the rest one by one, by the last thread.
template <typename A, int N>
__global__ void __launch_bounds__(kThreads, kBlocksPerMultiprocessor)
    AdamWKernel(ops::AdamWStep step, const double* control, Buffers<A> buffers) {
  if (control[ops::kGradientScale] < 0) return;
  const Coefficients<A> coefficients(step, control);
  const int64_t threads = int64_t{gridDim.x} * kThreads, thread = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  const int64_t whole = buffers.n / N * N;
  for (int64_t i = thread * N; i < whole; i += threads * N) UpdateVector<A, N>(coefficients, buffers, i);
  if (thread != threads - 1) return;
  for (int64_t i = whole; i < buffers.n; ++i) UpdateVector<A, 1>(coefficients, buffers, i);
}

// One warp.
__global__ void ClipKernel(const double* sum_squares, const double* losses, int64_t n, double* control) {
  const double norm = sqrt(sum_squares[0]), clip = control[ops::kClipNorm];
  int bad = !isfinite(norm) || norm > control[ops::kLargestNorm];
  for (int64_t i = threadIdx.x; i < n; i += kWarp) bad |= !isfinite(losses[i]);
  bad = WarpMax(bad);
  if (threadIdx.x != 0) return;
  control[ops::kGradientNorm] = norm;
  control[ops::kGradientScale] = bad != 0 ? -1.0 : norm > clip ? clip / norm : 1.0;
}

}  // namespace

void Clip(const Context& context, const Tensor& sum_squares, const Tensor& losses, const Tensor& control) {
  Launch(context, "clip", ClipKernel, 1, kWarp, 0, sum_squares.data<double>(), losses.data<double>(), losses.elements(),
         control.data<double>());
}

void AdamW(const Context& context, const ops::AdamWStep& step, const Tensor& control, const Tensor& p, const Tensor& g,
           const Tensor& m, const Tensor& v, const Tensor& copy) {
  if (p.elements() == 0) return;
  const auto launch = [&](auto tag, auto n) {
    using A = decltype(tag);
    const Buffers<A> buffers = {p.data<A>(), g.data<A>(), m.data<A>(), v.data<A>(), DataOrNull<BFloat16>(copy),
                                p.elements()};
    const unsigned grid = StrideGrid(context, CeilDiv(p.elements(), n), kThreads, kBlocksPerMultiprocessor);
    Launch(context, "adamw", AdamWKernel<A, n>, grid, kThreads, 0, step, control.data<double>(), buffers);
  };
  const auto visit = [&](auto tag) {
    constexpr int N = kVector<decltype(tag)>;
    AllVectorizable(N, p, g, m, v, copy) ? launch(tag, std::integral_constant<int, N>())
                                         : launch(tag, std::integral_constant<int, 1>());
  };
  p.dtype() == DType::kF64 ? visit(double{}) : visit(float{});
}

}  // namespace photon::cuda
