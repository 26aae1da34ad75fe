// The learning rate of each step.
#pragma once

#include <cstdint>

#include "configs/training.pb.h"

namespace photon {

// peak * step / warmup_steps, then a cosine down to final_lr_fraction * peak at step `steps` (spec, section 4). Steps
// count from 1; where warm-up is as long as the run, it never decays.
double LearningRate(const OptimizerConfig& config, int64_t step, int64_t steps);

}  // namespace photon
