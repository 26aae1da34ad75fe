#include "core/ops/adamw.h"

#include <gtest/gtest.h>
#include <omp.h>

#include <cmath>

#include "absl/strings/str_cat.h"
#include "tests/support/tensors.h"

namespace photon {
namespace {

using testing::ExpectNear;
using testing::FromDoubles;
using testing::RandomTensor;
using testing::TestContext;
using testing::ToDoubles;
using testing::UnitRoundoff;

struct Moments {
  double p, m, v;
};

// The update as the paper's algorithm 2 writes it, in double.
Moments Reference(const ops::AdamWStep& step, Moments old, double g) {
  g *= step.gradient_scale;
  const double m = step.beta1 * old.m + (1 - step.beta1) * g;
  const double v = step.beta2 * old.v + (1 - step.beta2) * g * g;
  const double m_hat = m / (1 - std::pow(step.beta1, step.t));
  const double v_hat = v / (1 - std::pow(step.beta2, step.t));
  return {old.p - step.lr * (m_hat / (std::sqrt(v_hat) + step.eps) + step.weight_decay * old.p), m, v};
}

TEST(AdamW, FollowsTheScalarReferenceOverSteps) {
  const TestContext context;
  for (const DType dtype : {DType::kF64, DType::kF32}) {
    for (const int64_t n : {1, 3, 17, 65, 40001}) {
      const Tensor p = RandomTensor(context, {n}, dtype, 1), m = context.get().Zeros({n}, dtype),
                   v = context.get().Zeros({n}, dtype);
      for (int64_t t = 1; t <= 4; ++t) {
        const ops::AdamWStep step = {.lr = 1e-2, .weight_decay = 0.1, .gradient_scale = 0.5, .t = t};
        const Tensor g = RandomTensor(context, {n}, dtype, 10 + t);
        const std::vector<double> p_old = ToDoubles(context, p), m_old = ToDoubles(context, m),
                                  v_old = ToDoubles(context, v), g_values = ToDoubles(context, g);
        ops::AdamW(context, step, p, g, m, v);
        std::vector<double> p_want, m_want, v_want;
        double p_size = 0, m_size = 0, v_size = 0;
        for (int64_t i = 0; i < n; ++i) {
          const Moments want = Reference(step, {p_old[i], m_old[i], v_old[i]}, g_values[i]);
          p_want.push_back(want.p), m_want.push_back(want.m), v_want.push_back(want.v);
          p_size = std::max(p_size, std::abs(p_old[i]));
          m_size = std::max({m_size, std::abs(m_old[i]), std::abs(g_values[i])});
          v_size = std::max({v_size, v_old[i], g_values[i] * g_values[i]});
        }
        // m: three products, one sum, two coefficients: 6 roundings; v: one more product. The update is at most
        // lr (sqrt(n_eff) + 1) with |m^| / sqrt(v^) <= 5 here; some 16 roundings of it, and one of p.
        const double u = UnitRoundoff(dtype);
        const std::string what = absl::StrCat(Name(dtype), " n ", n, " step ", t);
        ExpectNear(ToDoubles(context, m), m_want, 6 * u * m_size, what + " m");
        ExpectNear(ToDoubles(context, v), v_want, 7 * u * v_size, what + " v");
        ExpectNear(ToDoubles(context, p), p_want, 2 * u * p_size + 16 * u * step.lr * (5 + p_size), what + " p");
      }
    }
  }
}

TEST(AdamW, ThreadsDoNotChangeABit) {
  const TestContext context;
  const int before = omp_get_max_threads();
  std::vector<double> first;
  for (const int threads : {1, 2, 3}) {
    omp_set_num_threads(threads);
    const int64_t n = 100'003;
    const Tensor p = RandomTensor(context, {n}, DType::kF32, 1), g = RandomTensor(context, {n}, DType::kF32, 2),
                 m = RandomTensor(context, {n}, DType::kF32, 3, 0.1), v = context.get().Zeros({n}, DType::kF32);
    ops::AdamW(context, {.lr = 1e-3, .weight_decay = 0.1, .t = 3}, p, g, m, v);
    if (first.empty()) first = ToDoubles(context, p);
    EXPECT_EQ(ToDoubles(context, p), first) << threads << " threads";
  }
  omp_set_num_threads(before);
}

TEST(AdamW, ZeroGradientFromZeroMomentsOnlyDecays) {
  const TestContext context;
  const Tensor p = FromDoubles(context, {2, -4}, {2}, DType::kF64);
  const Tensor g = context.get().Zeros({2}, DType::kF64), m = context.get().Zeros({2}, DType::kF64),
               v = context.get().Zeros({2}, DType::kF64);
  ops::AdamW(context, {.lr = 0.5, .weight_decay = 0.25, .t = 1}, p, g, m, v);
  EXPECT_EQ(ToDoubles(context, p), (std::vector<double>{1.75, -3.5}));
}

TEST(SumSquares, AgreesWithReference) {
  const TestContext context;
  for (const DType dtype : {DType::kF64, DType::kF32}) {
    for (const int64_t n : {0, 1, 3, 17, 65, 4096, 4097, 100'003}) {
      const Tensor x = RandomTensor(context, {n}, dtype, 1);
      long double want = 0;
      for (double value : ToDoubles(context, x)) want += static_cast<long double>(value) * value;
      const Tensor out = FromDoubles(context, {NAN}, {1}, DType::kF64);
      ops::SumSquares(context, x, out);
      // All terms are positive: each rounds once as a product, and at most ~140 + n / 4096 times in sums.
      const double bound = (150 + n / 4096) * 0x1p-53 * static_cast<double>(want);
      ExpectNear(ToDoubles(context, out), {static_cast<double>(want)}, bound, absl::StrCat(Name(dtype), " n ", n));
    }
  }
}

TEST(SumSquares, ThreadsDoNotChangeABit) {
  const TestContext context;
  const Tensor x = RandomTensor(context, {300'007}, DType::kF32, 1);
  const int before = omp_get_max_threads();
  std::vector<double> first;
  for (const int threads : {1, 2, 3, 7}) {
    omp_set_num_threads(threads);
    const Tensor out = context.get().Empty({1}, DType::kF64);
    ops::SumSquares(context, x, out);
    if (first.empty()) first = ToDoubles(context, out);
    EXPECT_EQ(ToDoubles(context, out), first) << threads << " threads";
  }
  omp_set_num_threads(before);
}

TEST(AdamWDeathTest, RefusesWhatDoesNotFit) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const TestContext context;
  const Tensor p = context.get().Zeros({4}, DType::kF32), short_m = context.get().Zeros({3}, DType::kF32);
  const auto exits = ::testing::ExitedWithCode(1);
  EXPECT_EXIT(ops::AdamW(context, {}, p, p, short_m, p), exits, "\\[adamw\\].*f32\\[4\\].*f32\\[3\\]");
  EXPECT_EXIT(ops::AdamW(context, {.t = 0}, p, p, p, p), exits, "\\[adamw\\] step 0");
  EXPECT_EXIT(ops::SumSquares(context, p, p), exits, "\\[sum_squares\\].*f32\\[4\\]");
}

}  // namespace
}  // namespace photon
