#include "train/health.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "core/ops/adamw.h"
#include "tests/support/tensors.h"

namespace photon {
namespace {

using photon::testing::FromDoubles;
using photon::testing::TestContext;
using photon::testing::ToDoubles;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();

HealthConfig HealthConfigOf(double spike_factor, int max_skipped_in_row) {
  HealthConfig config;
  config.set_spike_factor(spike_factor);
  config.set_max_skipped_in_row(max_skipped_in_row);
  return config;
}

// What a step comes to: the device's decision by the monitor's limit, and the monitor's word on it.
std::string Judged(HealthMonitor& monitor, double loss, double norm) {
  const TestContext context;
  std::vector<double> values(ops::kAdamWControls);
  values[ops::kClipNorm] = 1;
  values[ops::kLargestNorm] = monitor.LargestNorm();
  const Tensor control = FromDoubles(context, values, {ops::kAdamWControls}, DType::kF64);
  // Norms whose squares are exact or far from the limit: the root gives them back.
  ops::Clip(context, FromDoubles(context, {norm * norm}, {1}, DType::kF64),
            FromDoubles(context, {loss}, {1}, DType::kF64), control);
  return monitor.Judge(loss, norm, ToDoubles(context, control)[ops::kGradientScale] >= 0);
}

TEST(HealthMonitor, WhatIsNotFiniteIsSkippedAndNamed) {
  HealthMonitor monitor(HealthConfigOf(0, 100), RunState());
  EXPECT_THAT(Judged(monitor, 2, 1), IsEmpty());
  EXPECT_THAT(Judged(monitor, kNan, 1), HasSubstr("loss is nan"));
  EXPECT_THAT(Judged(monitor, kInfinity, 1), HasSubstr("loss is inf"));
  EXPECT_THAT(Judged(monitor, 2, kNan), HasSubstr("gradient norm is nan"));
  EXPECT_THAT(Judged(monitor, 2, kInfinity), HasSubstr("gradient norm is inf"));
  EXPECT_THAT(Judged(monitor, 2, 1e30), IsEmpty()) << "spikes are off";
}

TEST(HealthMonitor, SpikesAreAboveTheRecentMean) {
  HealthMonitor monitor(HealthConfigOf(4, 100), RunState());
  EXPECT_THAT(Judged(monitor, 2, 1000), IsEmpty()) << "nothing to compare the first with";
  HealthMonitor steady(HealthConfigOf(4, 100), RunState());
  for (int i = 0; i < 10; ++i) EXPECT_THAT(Judged(steady, 2, 0.5), IsEmpty());
  EXPECT_THAT(Judged(steady, 2, 1.99), IsEmpty());  // moves the mean to 0.5298
  EXPECT_THAT(Judged(steady, 2, 2.2), HasSubstr("over 4 times its recent mean 0.53"));
  EXPECT_THAT(Judged(steady, 2, 2.0), IsEmpty()) << "a spike does not enter the mean, nor does it stay";
}

TEST(HealthMonitor, OnlyBadStepsInARowStopTheRun) {
  HealthMonitor monitor(HealthConfigOf(0, 2), RunState());
  for (int round = 0; round < 3; ++round) {
    Judged(monitor, kNan, 1);
    Judged(monitor, kNan, 1);
    EXPECT_TRUE(monitor.Verdict("batch").ok());
    Judged(monitor, 1, 1);
    EXPECT_TRUE(monitor.Verdict("batch").ok());
  }
  for (int i = 0; i < 3; ++i) {
    EXPECT_TRUE(monitor.Verdict("batch").ok());
    Judged(monitor, kNan, 1);
  }
  const absl::Status verdict = monitor.Verdict("step 7 (sequences 24 to 27 of the sample order)");
  EXPECT_EQ(verdict.code(), absl::StatusCode::kAborted);
  EXPECT_THAT(std::string(verdict.message()), HasSubstr("3 bad steps in a row"));
  EXPECT_THAT(std::string(verdict.message()), HasSubstr("step 7 (sequences 24 to 27 of the sample order)"));
  EXPECT_THAT(std::string(verdict.message()), HasSubstr("peak_lr"));

  HealthMonitor strict(HealthConfigOf(0, 0), RunState());
  Judged(strict, kNan, 1);
  EXPECT_FALSE(strict.Verdict("batch").ok());
}

// A monitor that is saved and restored after every step judges as one that never was.
TEST(HealthMonitor, StateSurvivesSaveAndRestore) {
  const HealthConfig config = HealthConfigOf(3, 2);
  HealthMonitor straight(config, RunState());
  RunState state;
  const double norms[] = {1, 1.5, kNan, 2.9, 40, 40, 1, 4.5, kInfinity, 9, 9};
  int skipped = 0, stopped = 0;
  for (const double norm : norms) {
    HealthMonitor restored(config, state);
    const std::string reason = Judged(straight, 2, norm);
    EXPECT_EQ(Judged(restored, 2, norm), reason);
    EXPECT_EQ(restored.Verdict("b"), straight.Verdict("b"));
    skipped += !reason.empty(), stopped += !straight.Verdict("b").ok();
    state.Clear();
    restored.Save(&state);
    RunState straight_state;
    straight.Save(&straight_state);
    EXPECT_EQ(state.grad_norm_mean(), straight_state.grad_norm_mean());
    EXPECT_EQ(state.skipped_in_row(), straight_state.skipped_in_row());
  }
  EXPECT_EQ(skipped, 7);
  EXPECT_EQ(stopped, 2);
}

}  // namespace
}  // namespace photon
