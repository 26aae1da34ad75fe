#include "train/schedule.h"

#include <gtest/gtest.h>

#include <cmath>

namespace photon {
namespace {

OptimizerConfig AdamWOf(double peak, int64_t warmup, double final_fraction = 0.1) {
  OptimizerConfig config;
  config.set_peak_lr(peak);
  config.set_warmup_steps(warmup);
  config.set_final_lr_fraction(final_fraction);
  return config;
}

TEST(LearningRate, WarmsUpLinearly) {
  const OptimizerConfig config = AdamWOf(3e-4, 8);
  for (int64_t step = 1; step <= 8; ++step) EXPECT_EQ(LearningRate(config, step, 100), 3e-4 * step / 8) << step;
}

// Each value is a handful of roundings of doubles, so 1e-15 of the peak is a generous bound; cos(pi / 2) is 6e-17.
TEST(LearningRate, CosineEndsAndMiddle) {
  const OptimizerConfig config = AdamWOf(2.0, 10, 0.25);
  EXPECT_EQ(LearningRate(config, 10, 50), 2.0);
  EXPECT_NEAR(LearningRate(config, 20, 50), 0.5 + 1.5 * (1 + std::sqrt(0.5)) / 2, 4e-15);  // a quarter of the way
  EXPECT_NEAR(LearningRate(config, 30, 50), 1.25, 4e-15);
  EXPECT_EQ(LearningRate(config, 50, 50), 0.5);
  for (int64_t step = 11; step <= 50; ++step) {
    EXPECT_LT(LearningRate(config, step, 50), LearningRate(config, step - 1, 50)) << step;
  }
}

TEST(LearningRate, StaysAtTheEndBeyondTheLastStep) {
  EXPECT_EQ(LearningRate(AdamWOf(1, 10), 51, 50), 0.1);
  EXPECT_EQ(LearningRate(AdamWOf(1, 10), 5000, 50), 0.1);
}

TEST(LearningRate, WithoutWarmUpOrDecay) {
  // No warm-up: the first step is already one step down the cosine.
  EXPECT_NEAR(LearningRate(AdamWOf(1, 0), 1, 100), 0.1 + 0.9 * (1 + std::cos(M_PI / 100)) / 2, 2e-15);
  EXPECT_EQ(LearningRate(AdamWOf(1, 0), 1, 1), 0.1);
  // Warm-up as long as the run, or longer: it only rises.
  EXPECT_EQ(LearningRate(AdamWOf(1, 50), 50, 50), 1);
  EXPECT_EQ(LearningRate(AdamWOf(1, 100), 50, 50), 0.5);
  // A final fraction of 1 is constant after the warm-up, one of 0 ends at nothing.
  for (int64_t step = 5; step <= 20; ++step) EXPECT_EQ(LearningRate(AdamWOf(0.3, 5, 1), step, 20), 0.3);
  EXPECT_EQ(LearningRate(AdamWOf(0.3, 5, 0), 20, 20), 0);
  EXPECT_EQ(LearningRate(AdamWOf(0, 5), 3, 20), 0);
}

}  // namespace
}  // namespace photon
