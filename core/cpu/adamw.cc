#include <cmath>

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
  Coefficients(const ops::AdamWStep& step, const double* control)
      : gradient_scale(control[ops::kGradientScale]),
        keep1(step.beta1),
        add1(1 - step.beta1),
        keep2(step.beta2),
        add2(1 - step.beta2),
        rate(control[ops::kLearningRate] / control[ops::kBiasCorrection1]),
        v_scale(1 / std::sqrt(control[ops::kBiasCorrection2])),
        eps(step.eps),
        decay(control[ops::kLearningRate] * step.weight_decay) {}

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
void UpdateRange(const Coefficients<A>& coefficients, int64_t n, A* p, const A* g, A* m, A* v, BFloat16* copy) {
  ForEachVector<A>(n, [&](int64_t i, auto lanes) {
    Vec<A> pi = Load(p + i, lanes), mi = Load(m + i, lanes), vi = Load(v + i, lanes);
    coefficients.Update(pi, Load(g + i, lanes), mi, vi);
    Store(p + i, pi, lanes);
    Store(m + i, mi, lanes);
    Store(v + i, vi, lanes);
    if constexpr (std::is_same_v<A, float>) {
      if (copy != nullptr) Store(copy + i, pi, lanes);
    }
  });
}

}  // namespace

void Clip(const Context&, const Tensor& sum_squares, const Tensor& losses, const Tensor& control) {
  double* values = control.data<double>();
  const double norm = std::sqrt(sum_squares.data<double>()[0]), clip = values[ops::kClipNorm];
  bool good = std::isfinite(norm) && !(norm > values[ops::kLargestNorm]);
  for (int64_t i = 0; i < losses.elements(); ++i) good = good && std::isfinite(losses.data<double>()[i]);
  values[ops::kGradientNorm] = norm;
  values[ops::kGradientScale] = good ? (norm > clip ? clip / norm : 1.0) : -1.0;
}

void AdamW(const Context&, const ops::AdamWStep& step, const Tensor& control, const Tensor& p, const Tensor& g,
           const Tensor& m, const Tensor& v, const Tensor& copy) {
  const double* values = control.data<double>();
  if (values[ops::kGradientScale] < 0) return;
  VisitFloat(p.dtype(), [&](auto tag) {
    using A = AccumulateType<decltype(tag)>;
    if constexpr (std::is_same_v<A, decltype(tag)>) {
      const Coefficients<A> coefficients(step, values);
      BFloat16* rounded = DataOrNull<BFloat16>(copy);
      ParallelFor(p.elements(), RowGrain(1), [&](int64_t begin, int64_t end) {
        UpdateRange(coefficients, end - begin, p.data<A>() + begin, g.data<A>() + begin, m.data<A>() + begin,
                    v.data<A>() + begin, rounded == nullptr ? nullptr : rounded + begin);
      });
    }
  });
}

}  // namespace photon::cpu
