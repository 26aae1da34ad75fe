#include "train/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace photon {

double LearningRate(const OptimizerConfig& config, int64_t step, int64_t steps) {
  const double peak = config.peak_lr();
  if (step <= config.warmup_steps()) return peak * static_cast<double>(step) / config.warmup_steps();
  const double span = static_cast<double>(std::max<int64_t>(steps - config.warmup_steps(), 1));
  const double done = std::min(1.0, static_cast<double>(step - config.warmup_steps()) / span);
  const double final_lr = config.final_lr_fraction() * peak;
  return final_lr + (peak - final_lr) * 0.5 * (1 + std::cos(std::numbers::pi * done));
}

}  // namespace photon
