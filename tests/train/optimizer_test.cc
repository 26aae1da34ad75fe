// AdamW over a parameter set against a scalar reference in doubles, written from the paper (Loshchilov and Hutter,
// algorithm 2), over several steps.
#include "train/optimizer.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <limits>
#include <map>
#include <string>

#include "core/ops/adamw.h"
#include "core/ops/elementwise.h"
#include "core/ops/reduce.h"
#include "core/random.h"
#include "tests/support/tensors.h"

namespace photon {
namespace {

using namespace photon::testing;

struct Reference {
  std::vector<double> p, m, v;

  void Step(const OptimizerConfig& c, double lr, double scale, double decay, int64_t t, const std::vector<double>& g) {
    for (size_t i = 0; i < p.size(); ++i) {
      const double gradient = g[i] * scale;
      m[i] = c.beta1() * m[i] + (1 - c.beta1()) * gradient;
      v[i] = c.beta2() * v[i] + (1 - c.beta2()) * gradient * gradient;
      const double m_hat = m[i] / (1 - std::pow(c.beta1(), t)), v_hat = v[i] / (1 - std::pow(c.beta2(), t));
      p[i] -= lr * (m_hat / (std::sqrt(v_hat) + c.eps()) + decay * p[i]);
    }
  }
};

class OptimizerTest : public ::testing::Test {
 protected:
  // A matrix that decays, a vector that does not, a group of two; sizes that leave gaps between groups.
  void Make(DType master, DType compute) {
    matrix_ = set_.Add({{"matrix", {5, 7}, {.mean = 0, .stddev = 0.5}, true, {}}}, true);
    set_.Add({{"norm", {7}, {.mean = 1, .stddev = 0}, false, {}}});
    set_.Add({{"q", {3, 7}, {.mean = 0, .stddev = 0.5}, true, {}}, {"k", {2, 7}, {.mean = 0, .stddev = 0.5}, true, {}}},
             true);
    set_.Allocate(context_, {.master = master, .compute = compute, .gradients = true, .at = {}});
    set_.Initialize(context_, 11);
    set_.ZeroGradients(context_);
  }
  void SetGradients(uint64_t seed, double scale) {
    for (const auto& p : set_.parameters()) {
      const Tensor g =
          RandomTensor(context_, p->local.shape, set_.options().master, seed + StableHash(p->spec.name), scale);
      ops::Cast(context_, g, p->gradient);
    }
  }
  // One update, as the trainer makes it: the gradients' norm.
  double Step(Optimizer& optimizer, double lr) {
    std::vector<double> values = optimizer.Controls(lr, std::numeric_limits<double>::infinity());
    const Tensor control = context_.get().FromHost(values.data(), {ops::kAdamWControls}, DType::kF64);
    const Tensor square_sum = context_.get().Empty({1}, DType::kF64);
    ops::SumSquares(context_, set_.gradient(), square_sum);
    optimizer.Step(square_sum, context_.get().Zeros({1}, DType::kF64), control);
    values = ToDoubles(context_, control);
    EXPECT_GE(values[ops::kGradientScale], 0);
    optimizer.CountUpdate();
    return values[ops::kGradientNorm];
  }
  double NormOfGradients() const {
    double sum = 0;
    for (const auto& p : set_.parameters()) {
      for (const double g : ToDoubles(context_, p->gradient)) sum += g * g;
    }
    return std::sqrt(sum);
  }

  TestContext context_;
  ParameterSet set_;
  const Weight* matrix_ = nullptr;
};

TEST_F(OptimizerTest, FollowsTheScalarReferenceOverSteps) {
  Make(DType::kF64, DType::kF64);
  OptimizerConfig config;  // the defaults: betas 0.9 and 0.95, decay 0.1, clipping at 1
  Optimizer optimizer(context_, set_, config);
  std::map<std::string, Reference> want;
  for (const auto& p : set_.parameters()) {
    want[p->spec.name] = {ToDoubles(context_, p->master), std::vector<double>(p->elements()),
                          std::vector<double>(p->elements())};
  }
  // Norms of some 0.1 * sqrt(77) = 0.9 and 9: unclipped and clipped steps.
  const double scales[] = {0.05, 1, 0.05, 2, 0.01};
  int clipped = 0;
  for (int64_t t = 1; t <= 5; ++t) {
    SetGradients(100 * t, scales[t - 1]);
    const double norm = NormOfGradients(), lr = 0.01 * static_cast<double>(t);
    clipped += norm > 1;
    for (const auto& p : set_.parameters()) {
      want[p->spec.name].Step(config, lr, norm > 1 ? 1 / norm : 1, p->spec.name == "norm" ? 0 : 0.1, t,
                              ToDoubles(context_, p->gradient));
    }
    // 77 squares: each sum rounds at most 77 times.
    EXPECT_NEAR(Step(optimizer, lr), norm, 77 * 0x1p-53 * norm);
    EXPECT_EQ(optimizer.updates(), t);
    for (const auto& p : set_.parameters()) {
      // Some 20 roundings a step of values around 1 (f64); moments are below 1, updates below lr * 5.
      const double bound = 20.0 * static_cast<double>(t) * 0x1p-53 * 4;
      ExpectNear(ToDoubles(context_, optimizer.m(*p)), want[p->spec.name].m, bound, p->spec.name + " m");
      ExpectNear(ToDoubles(context_, optimizer.v(*p)), want[p->spec.name].v, bound, p->spec.name + " v");
      ExpectNear(ToDoubles(context_, p->master), want[p->spec.name].p, bound, p->spec.name);
    }
  }
  EXPECT_EQ(clipped, 2);
}

TEST_F(OptimizerTest, DecayIsForMatricesOnly) {
  Make(DType::kF64, DType::kF64);
  OptimizerConfig config;
  Optimizer optimizer(context_, set_, config);
  std::map<std::string, std::vector<double>> before;
  for (const auto& p : set_.parameters()) before[p->spec.name] = ToDoubles(context_, p->master);
  Step(optimizer, 0.5);  // no gradient: only decay moves anything
  for (const auto& p : set_.parameters()) {
    std::vector<double> want = before[p->spec.name];
    if (p->spec.decay) {
      for (double& value : want) value -= 0.5 * 0.1 * value;
    }
    ExpectNear(ToDoubles(context_, p->master), want, 4 * 0x1p-53 * 2, p->spec.name);
  }
  EXPECT_EQ(ToDoubles(context_, set_.Find("norm")->master), before["norm"]);
}

TEST_F(OptimizerTest, ClippingCanBeOff) {
  Make(DType::kF64, DType::kF64);
  for (const double clip : {0.0, 1e9}) {
    OptimizerConfig config;
    config.set_clip_norm(clip);
    Optimizer optimizer(context_, set_, config);
    SetGradients(3, 100);
    Step(optimizer, 0.1);
    for (const auto& p : set_.parameters()) {
      std::vector<double> want = ToDoubles(context_, p->gradient);
      for (double& g : want) g *= 1 - config.beta1();
      ExpectNear(ToDoubles(context_, optimizer.m(*p)), want, 4 * 0x1p-53 * 100, p->spec.name);
    }
  }
}

// Masters keep what bf16 can't: the copy is the master rounded, after every step.
TEST_F(OptimizerTest, ComputeCopiesFollowTheMasters) {
  Make(DType::kF32, DType::kBF16);
  OptimizerConfig config;
  Optimizer optimizer(context_, set_, config);
  for (int step = 0; step < 3; ++step) {
    const std::vector<double> before = ToDoubles(context_, matrix_->compute);
    SetGradients(step, 1);
    Step(optimizer, 0.1);
    const Tensor rounded = context_.get().Empty(matrix_->master.shape(), DType::kBF16);
    ops::Cast(context_, matrix_->master, rounded);
    EXPECT_EQ(ToDoubles(context_, matrix_->compute), ToDoubles(context_, rounded));
    EXPECT_NE(ToDoubles(context_, matrix_->compute), before);
  }
}

// Ranges of neighbours that decay alike, gaps included, are updated in one go: to the bit what one by one gives.
TEST_F(OptimizerTest, RangesGiveTheBitsOfSingleParameters) {
  for (const int64_t odd : {1, 13, 64}) set_.Add({{"early" + std::to_string(odd), {odd, 3}, {0, 0.5}, true, {}}});
  for (const int64_t odd : {5, 9}) set_.Add({{"vector" + std::to_string(odd), {odd}, {1, 0.5}, false, {}}});
  Make(DType::kF32, DType::kF32);
  OptimizerConfig config;
  Optimizer optimizer(context_, set_, config);
  SetGradients(1, 1);
  const Tensor square_sum = context_.get().Empty({1}, DType::kF64);
  ops::SumSquares(context_, set_.gradient(), square_sum);
  const double norm = std::sqrt(ToDoubles(context_, square_sum)[0]);
  std::vector<double> values = optimizer.Controls(0.1, std::numeric_limits<double>::infinity());
  values[ops::kGradientScale] = config.clip_norm() / norm;
  ASSERT_LT(values[ops::kGradientScale], 1);
  const Tensor control = context_.get().FromHost(values.data(), {ops::kAdamWControls}, DType::kF64);
  ops::AdamWStep step{.beta1 = config.beta1(), .beta2 = config.beta2(), .eps = config.eps(), .weight_decay = 0};
  std::map<std::string, std::array<std::vector<double>, 3>> want;
  for (const auto& p : set_.parameters()) {
    const Tensor copy = context_.get().Empty(p->local.shape, DType::kF32);
    ops::Cast(context_, p->master, copy);
    const Tensor m = context_.get().Zeros(p->local.shape, DType::kF32);
    const Tensor v = context_.get().Zeros(p->local.shape, DType::kF32);
    step.weight_decay = p->spec.decay ? config.weight_decay() : 0;
    ops::AdamW(context_, step, control, copy, p->gradient, m, v, {});
    want[p->spec.name] = {ToDoubles(context_, copy), ToDoubles(context_, m), ToDoubles(context_, v)};
  }
  Step(optimizer, 0.1);
  for (const auto& p : set_.parameters()) {
    EXPECT_EQ(ToDoubles(context_, p->master), want[p->spec.name][0]) << p->spec.name;
    EXPECT_EQ(ToDoubles(context_, optimizer.m(*p)), want[p->spec.name][1]) << p->spec.name;
    EXPECT_EQ(ToDoubles(context_, optimizer.v(*p)), want[p->spec.name][2]) << p->spec.name;
  }
}

TEST_F(OptimizerTest, GapsBetweenGroupsStayZero) {
  Make(DType::kF32, DType::kF32);
  OptimizerConfig config;
  Optimizer optimizer(context_, set_, config);
  SetGradients(1, 1);
  Step(optimizer, 0.1);
  std::vector<bool> used(set_.master().elements());
  for (const auto& p : set_.parameters()) {
    for (int64_t i = 0; i < p->elements(); ++i) used[p->begin + i] = true;
  }
  int gaps = 0;
  for (size_t i = 0; i < used.size(); ++i) {
    if (used[i]) continue;
    ++gaps;
    EXPECT_EQ(set_.master().data<float>()[i], 0);
  }
  EXPECT_GT(gaps, 0);
}

}  // namespace
}  // namespace photon
