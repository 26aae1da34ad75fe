#include "train/health.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace photon {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();

HealthConfig Config(double spike_factor, int max_skipped_in_row) {
  HealthConfig config;
  config.set_spike_factor(spike_factor);
  config.set_max_skipped_in_row(max_skipped_in_row);
  return config;
}

TEST(HealthMonitor, WhatIsNotFiniteIsSkippedAndNamed) {
  HealthMonitor monitor(Config(0, 100), RunState());
  EXPECT_THAT(monitor.Judge(2, 1), IsEmpty());
  EXPECT_THAT(monitor.Judge(kNan, 1), HasSubstr("loss is nan"));
  EXPECT_THAT(monitor.Judge(kInfinity, 1), HasSubstr("loss is inf"));
  EXPECT_THAT(monitor.Judge(2, kNan), HasSubstr("gradient norm is nan"));
  EXPECT_THAT(monitor.Judge(2, kInfinity), HasSubstr("gradient norm is inf"));
  EXPECT_THAT(monitor.Judge(2, 1e30), IsEmpty()) << "spikes are off";
}

TEST(HealthMonitor, SpikesAreAboveTheRecentMean) {
  HealthMonitor monitor(Config(4, 100), RunState());
  EXPECT_THAT(monitor.Judge(2, 1000), IsEmpty()) << "nothing to compare the first with";
  HealthMonitor steady(Config(4, 100), RunState());
  for (int i = 0; i < 10; ++i) EXPECT_THAT(steady.Judge(2, 0.5), IsEmpty());
  EXPECT_THAT(steady.Judge(2, 1.99), IsEmpty());  // moves the mean to 0.5298
  EXPECT_THAT(steady.Judge(2, 2.2), HasSubstr("over 4 times its recent mean 0.53"));
  EXPECT_THAT(steady.Judge(2, 2.0), IsEmpty()) << "a spike does not enter the mean, nor does it stay";
}

TEST(HealthMonitor, OnlyBadStepsInARowStopTheRun) {
  HealthMonitor monitor(Config(0, 2), RunState());
  for (int round = 0; round < 3; ++round) {
    monitor.Judge(kNan, 1);
    monitor.Judge(kNan, 1);
    EXPECT_TRUE(monitor.Verdict("batch").ok());
    monitor.Judge(1, 1);
    EXPECT_TRUE(monitor.Verdict("batch").ok());
  }
  for (int i = 0; i < 3; ++i) {
    EXPECT_TRUE(monitor.Verdict("batch").ok());
    monitor.Judge(kNan, 1);
  }
  const absl::Status verdict = monitor.Verdict("step 7 (sequences 24 to 27 of the sample order)");
  EXPECT_EQ(verdict.code(), absl::StatusCode::kAborted);
  EXPECT_THAT(std::string(verdict.message()), HasSubstr("3 bad steps in a row"));
  EXPECT_THAT(std::string(verdict.message()), HasSubstr("step 7 (sequences 24 to 27 of the sample order)"));
  EXPECT_THAT(std::string(verdict.message()), HasSubstr("peak_lr"));

  HealthMonitor strict(Config(0, 0), RunState());
  strict.Judge(kNan, 1);
  EXPECT_FALSE(strict.Verdict("batch").ok());
}

// A monitor that is saved and restored after every step judges as one that never was.
TEST(HealthMonitor, StateSurvivesSaveAndRestore) {
  const HealthConfig config = Config(3, 2);
  HealthMonitor straight(config, RunState());
  RunState state;
  const double norms[] = {1, 1.5, kNan, 2.9, 40, 40, 1, 4.5, kInfinity, 9, 9};
  int skipped = 0, stopped = 0;
  for (const double norm : norms) {
    HealthMonitor restored(config, state);
    const std::string reason = straight.Judge(2, norm);
    EXPECT_EQ(restored.Judge(2, norm), reason);
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
