#include "core/ops/adamw.h"

#include <gtest/gtest.h>
#include <omp.h>

#include <cmath>
#include <limits>

#include "absl/strings/str_cat.h"
#include "core/ops/elementwise.h"
#include "core/ops/reduce.h"
#include "tests/support/tensors.h"

namespace photon {
namespace {

using testing::ExpectNear;
using testing::FromDoubles;
using testing::InEveryOrder;
using testing::RandomTensor;
using testing::TestContext;
using testing::ToDoubles;
using testing::UnitRoundoff;

struct Moments {
  double p, m, v;
};

// What of a step is not in AdamWStep.
struct Control {
  double lr = 0;
  double gradient_scale = 1;
  int64_t t = 1;
};

Tensor ControlTensor(const Context& context, const ops::AdamWStep& step, const Control& control) {
  std::vector<double> values(ops::kAdamWControls, NAN);  // what AdamW has no business reading
  values[ops::kLearningRate] = control.lr;
  values[ops::kBiasCorrection1] = 1 - std::pow(step.beta1, control.t);
  values[ops::kBiasCorrection2] = 1 - std::pow(step.beta2, control.t);
  values[ops::kGradientScale] = control.gradient_scale;
  return FromDoubles(context, values, {ops::kAdamWControls}, DType::kF64);
}

// The update as the paper's algorithm 2 writes it, in double.
Moments Reference(const ops::AdamWStep& step, const Control& control, Moments old, double g) {
  g *= control.gradient_scale;
  const double m = step.beta1 * old.m + (1 - step.beta1) * g;
  const double v = step.beta2 * old.v + (1 - step.beta2) * g * g;
  const double m_hat = m / (1 - std::pow(step.beta1, control.t));
  const double v_hat = v / (1 - std::pow(step.beta2, control.t));
  return {old.p - control.lr * (m_hat / (std::sqrt(v_hat) + step.eps) + step.weight_decay * old.p), m, v};
}

TEST(AdamW, FollowsTheScalarReferenceOverSteps) {
  const TestContext context;
  for (const DType dtype : {DType::kF64, DType::kF32}) {
    for (const int64_t n : {1, 3, 17, 65, 40001}) {
      const Tensor p = RandomTensor(context, {n}, dtype, 1), m = context.get().Zeros({n}, dtype),
                   v = context.get().Zeros({n}, dtype);
      for (int64_t t = 1; t <= 4; ++t) {
        const ops::AdamWStep step = {.weight_decay = 0.1};
        const Control control = {.lr = 1e-2, .gradient_scale = 0.5, .t = t};
        const Tensor g = RandomTensor(context, {n}, dtype, 10 + t);
        const std::vector<double> p_old = ToDoubles(context, p), m_old = ToDoubles(context, m),
                                  v_old = ToDoubles(context, v), g_values = ToDoubles(context, g);
        ops::AdamW(context, step, ControlTensor(context, step, control), p, g, m, v, {});
        std::vector<double> p_want, m_want, v_want;
        double p_size = 0, m_size = 0, v_size = 0;
        for (int64_t i = 0; i < n; ++i) {
          const Moments want = Reference(step, control, {p_old[i], m_old[i], v_old[i]}, g_values[i]);
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
        ExpectNear(ToDoubles(context, p), p_want, 2 * u * p_size + 16 * u * control.lr * (5 + p_size), what + " p");
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
    const ops::AdamWStep step = {.weight_decay = 0.1};
    ops::AdamW(context, step, ControlTensor(context, step, {.lr = 1e-3, .t = 3}), p, g, m, v, {});
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
  const ops::AdamWStep step = {.weight_decay = 0.25};
  ops::AdamW(context, step, ControlTensor(context, step, {.lr = 0.5}), p, g, m, v, {});
  EXPECT_EQ(ToDoubles(context, p), (std::vector<double>{1.75, -3.5}));
}

// The copy is the new value rounded, element by element, wherever ranges and vectors end.
TEST(AdamW, CopyIsTheNewValueRounded) {
  const TestContext context;
  const ops::AdamWStep step = {.weight_decay = 0.1};
  for (const int64_t n : {1, 3, 17, 65, 4099}) {
    const Tensor p = RandomTensor(context, {n}, DType::kF32, 1), g = RandomTensor(context, {n}, DType::kF32, 2),
                 m = context.get().Zeros({n}, DType::kF32), v = context.get().Zeros({n}, DType::kF32),
                 alone = context.get().Empty({n}, DType::kF32), rounded = context.get().Empty({n}, DType::kBF16),
                 copy = FromDoubles(context, std::vector<double>(n, 7), {n}, DType::kBF16);
    ops::Cast(context, p, alone);
    const Tensor control = ControlTensor(context, step, {.lr = 0.1});
    ops::AdamW(context, step, control, p, g, m, v, copy);
    ops::Cast(context, p, rounded);
    EXPECT_EQ(ToDoubles(context, copy), ToDoubles(context, rounded)) << n;
    const Tensor m2 = context.get().Zeros({n}, DType::kF32), v2 = context.get().Zeros({n}, DType::kF32);
    ops::AdamW(context, step, control, alone, g, m2, v2, {});
    EXPECT_EQ(ToDoubles(context, alone), ToDoubles(context, p)) << "a copy changes nothing else, n " << n;
  }
}

TEST(AdamW, ASkippedStepChangesNothing) {
  const TestContext context;
  const int64_t n = 1000;
  const Tensor p = RandomTensor(context, {n}, DType::kF32, 1), m = RandomTensor(context, {n}, DType::kF32, 3),
               v = FromDoubles(context, std::vector<double>(n, 0.5), {n}, DType::kF32),
               g = FromDoubles(context, std::vector<double>(n, NAN), {n}, DType::kF32),
               copy = RandomTensor(context, {n}, DType::kBF16, 4);
  std::vector<std::vector<double>> before;
  for (const Tensor& t : {p, m, v, copy}) before.push_back(ToDoubles(context, t));
  const ops::AdamWStep step = {.weight_decay = 0.1};
  ops::AdamW(context, step, ControlTensor(context, step, {.lr = 0.1, .gradient_scale = -1}), p, g, m, v, copy);
  int i = 0;
  for (const Tensor& t : {p, m, v, copy}) EXPECT_EQ(ToDoubles(context, t), before[i++]);
}

// From the gradients to the update, as a training step goes: each operation reads what the one before wrote.
TEST(AdamW, SameBitsInEveryOrder) {
  InEveryOrder([] {
    const TestContext context;
    const Context& c = context;
    const int64_t n = 20'003;
    const Tensor p = RandomTensor(c, {n}, DType::kF32, 1), g = RandomTensor(c, {n}, DType::kF32, 2),
                 m = RandomTensor(c, {n}, DType::kF32, 3), v = c.Zeros({n}, DType::kF32),
                 copy = c.Empty({n}, DType::kBF16), squares = c.Empty({1}, DType::kF64),
                 losses = FromDoubles(c, {1, 2}, {2}, DType::kF64);
    const Tensor control = FromDoubles(c, {1e-2, 0.1, 0.05, 1, 1e9, NAN, NAN}, {ops::kAdamWControls}, DType::kF64);
    ops::SumSquares(c, g, squares);
    ops::Clip(c, squares, losses, control);
    ops::AdamW(c, {}, control, p, g, m, v, copy);
    std::vector<double> all;
    for (const Tensor& t : {control, p, m, v, copy}) {
      const std::vector<double> part = ToDoubles(c, t);
      all.insert(all.end(), part.begin(), part.end());
    }
    return all;
  });
}

// Ranges of flat buffers begin anywhere.
TEST(AdamW, AnyAlignmentGivesTheSameBits) {
  const TestContext context;
  const Context& c = context;
  const int64_t n = 1003;
  const Tensor values = RandomTensor(c, {n}, DType::kF32, 1), g = RandomTensor(c, {n}, DType::kF32, 2);
  std::vector<double> first;
  for (const int64_t offset : {0, 1, 4}) {
    const auto at = [&](DType dtype) { return c.Zeros({n + offset}, dtype).Rows(offset, n + offset); };
    const Tensor p = at(DType::kF32), m = at(DType::kF32), v = at(DType::kF32), copy = at(DType::kBF16);
    ops::Cast(c, values, p);
    const ops::AdamWStep step = {.weight_decay = 0.1};
    ops::AdamW(c, step, ControlTensor(c, step, {.lr = 0.1}), p, g, m, v, copy);
    std::vector<double> got = ToDoubles(c, p), rounded = ToDoubles(c, copy);
    got.insert(got.end(), rounded.begin(), rounded.end());
    if (first.empty()) first = got;
    EXPECT_EQ(got, first) << "offset " << offset;
  }
}

TEST(Clip, WritesNormAndScale) {
  const TestContext context;
  constexpr double kInf = std::numeric_limits<double>::infinity();
  struct Case {
    double squares;
    std::vector<double> losses;
    double clip, largest, norm, scale;
  };
  const Case cases[] = {
      {0.25, {3, 4}, 1, kInf, 0.5, 1},       // small
      {1, {3}, 1, kInf, 1, 1},               // at the clip norm
      {16, {3}, 1, kInf, 4, 0.25},           // clipped
      {16, {}, kInf, kInf, 4, 1},            // clipping is off; no losses
      {16, {3}, 1, 4, 4, 0.25},              // at the largest norm
      {16, {3}, 1, 3.9999, 4, -1},           // above it
      {kInf, {3}, 1, kInf, kInf, -1},        // infinite norm
      {1, {3, NAN}, 1, kInf, 1, -1},         // a bad loss
      {1, {-kInf, 3, 3, 3}, 1, kInf, 1, -1}  // another
  };
  for (const Case& c : cases) {
    const Tensor control =
        FromDoubles(context, {7, 8, 9, c.clip, c.largest, NAN, NAN}, {ops::kAdamWControls}, DType::kF64);
    const auto n = static_cast<int64_t>(c.losses.size());
    ops::Clip(context, FromDoubles(context, {c.squares}, {1}, DType::kF64),
              FromDoubles(context, c.losses, {n}, DType::kF64), control);
    EXPECT_EQ(ToDoubles(context, control), (std::vector<double>{7, 8, 9, c.clip, c.largest, c.norm, c.scale}));
  }
  const Tensor control = FromDoubles(context, {7, 8, 9, 1, kInf, 0, 0}, {ops::kAdamWControls}, DType::kF64);
  ops::Clip(context, FromDoubles(context, {NAN}, {1}, DType::kF64), context.get().Empty({0}, DType::kF64), control);
  EXPECT_TRUE(std::isnan(ToDoubles(context, control)[ops::kGradientNorm]));
  EXPECT_EQ(ToDoubles(context, control)[ops::kGradientScale], -1);
}

TEST(AdamWDeathTest, RefusesWhatDoesNotFit) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const TestContext context;
  const Tensor p = context.get().Zeros({4}, DType::kF32), short_m = context.get().Zeros({3}, DType::kF32),
               control = context.get().Zeros({ops::kAdamWControls}, DType::kF64),
               one = context.get().Zeros({1}, DType::kF64), none = context.get().Empty({0}, DType::kF64);
  const auto exits = ::testing::ExitedWithCode(1);
  EXPECT_EXIT(ops::AdamW(context, {}, control, p, p, short_m, p, {}), exits, "\\[adamw\\].*f32\\[4\\].*f32\\[3\\]");
  EXPECT_EXIT(ops::AdamW(context, {}, control, p, p, p, p, p), exits, "\\[adamw\\].*copy f32\\[4\\]");
  EXPECT_EXIT(ops::AdamW(context, {}, one, p, p, p, p, {}), exits, "\\[adamw\\] control f64\\[1\\]");
  EXPECT_EXIT(ops::Clip(context, p, none, control), exits, "\\[clip\\].*f32\\[4\\]");
}

}  // namespace
}  // namespace photon
