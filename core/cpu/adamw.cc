#include <algorithm>
#include <cmath>
#include <cstring>

#include "core/cpu/kernels.h"
#include "core/cpu/parallel_for.h"
#include "core/cpu/simd.h"

namespace photon::cpu {
namespace {

template <typename A>
Vec<A> SquareRoot(Vec<A> v) {
  for (int i = 0; i < kLanes<A>; ++i) v[i] = std::sqrt(v[i]);
  return v;
}

// The scalars of a step, folded: p -= rate * m / (sqrt(v) * v_scale + eps) + decay * p.
template <typename A>
struct Coefficients {
  explicit Coefficients(const ops::AdamWStep& step)
      : gradient_scale(step.gradient_scale),
        keep1(step.beta1),
        add1(1 - step.beta1),
        keep2(step.beta2),
        add2(1 - step.beta2),
        rate(step.lr / (1 - std::pow(step.beta1, step.t))),
        v_scale(1 / std::sqrt(1 - std::pow(step.beta2, step.t))),
        eps(step.eps),
        decay(step.lr * step.weight_decay) {}

  void Update(Vec<A>& p, Vec<A> g, Vec<A>& m, Vec<A>& v) const {
    g *= gradient_scale;
    m = keep1 * m + add1 * g;
    v = keep2 * v + add2 * (g * g);
    p -= rate * m / (SquareRoot<A>(v) * v_scale + eps) + decay * p;
  }

  A gradient_scale, keep1, add1, keep2, add2, rate, v_scale, eps, decay;
};

// The tail goes through the same vector arithmetic, so an element's result does not depend on where ranges are cut.
template <typename A>
void UpdateRange(const Coefficients<A>& coefficients, int64_t n, A* p, const A* g, A* m, A* v) {
  int64_t i = 0;
  for (; i + kLanes<A> <= n; i += kLanes<A>) {
    Vec<A> pi = Load(p + i), mi = Load(m + i), vi = Load(v + i);
    coefficients.Update(pi, Load(g + i), mi, vi);
    Store(p + i, pi);
    Store(m + i, mi);
    Store(v + i, vi);
  }
  const int64_t rest = n - i;
  Vec<A> pi = LoadPartial(p + i, rest), mi = LoadPartial(m + i, rest), vi = LoadPartial(v + i, rest);
  coefficients.Update(pi, LoadPartial(g + i, rest), mi, vi);
  StorePartial(p + i, rest, pi);
  StorePartial(m + i, rest, mi);
  StorePartial(v + i, rest, vi);
}

Vec<double> LoadDoubles(const double* p) { return Load(p); }
Vec<double> LoadDoubles(const float* p) {
  typedef float Half __attribute__((vector_size(32)));
  Half half;
  std::memcpy(&half, p, sizeof(half));
  return __builtin_convertvector(half, Vec<double>);
}

template <typename A>
double SumSquaresOf(const A* x, int64_t n) {
  constexpr int64_t kUnrolled = 4;  // independent sums, so that an addition need not wait for the one before
  constexpr int64_t kStep = kUnrolled * kLanes<double>;
  Vec<double> sums[kUnrolled] = {};
  int64_t i = 0;
  for (; i + kStep <= n; i += kStep) {
    for (int64_t u = 0; u < kUnrolled; ++u) {
      const Vec<double> values = LoadDoubles(x + i + u * kLanes<double>);
      sums[u] += values * values;
    }
  }
  double rest = 0;
  for (; i < n; ++i) rest += static_cast<double>(x[i]) * x[i];
  return Sum<double>((sums[0] + sums[1]) + (sums[2] + sums[3])) + rest;
}

}  // namespace

void AdamW(const Context&, const ops::AdamWStep& step, const Tensor& p, const Tensor& g, const Tensor& m,
           const Tensor& v) {
  VisitFloat(p.dtype(), [&](auto tag) {
    using A = AccumulateType<decltype(tag)>;
    if constexpr (std::is_same_v<A, decltype(tag)>) {
      const Coefficients<A> coefficients(step);
      ParallelFor(p.elements(), RowGrain(1), [&](int64_t begin, int64_t end) {
        UpdateRange(coefficients, end - begin, p.data<A>() + begin, g.data<A>() + begin, m.data<A>() + begin,
                    v.data<A>() + begin);
      });
    }
  });
}

// Blocks of fixed size are summed apart, then their sums in order: the number of threads does not enter.
void SumSquares(const Context& context, const Tensor& x, const Tensor& out) {
  constexpr int64_t kBlock = 4096;
  const int64_t blocks = (x.elements() + kBlock - 1) / kBlock;
  const Tensor block_sums = context.Empty({blocks}, DType::kF64);
  double* sums = block_sums.data<double>();
  VisitFloat(x.dtype(), [&](auto tag) {
    using A = decltype(tag);
    if constexpr (!std::is_same_v<A, BFloat16>) {
      ParallelFor(blocks, RowGrain(kBlock), [&](int64_t begin, int64_t end) {
        for (int64_t b = begin; b < end; ++b) {
          sums[b] = SumSquaresOf(x.data<A>() + b * kBlock, std::min(kBlock, x.elements() - b * kBlock));
        }
      });
    }
  });
  double total = 0;
  for (int64_t b = 0; b < blocks; ++b) total += sums[b];
  out.data<double>()[0] = total;
}

}  // namespace photon::cpu
