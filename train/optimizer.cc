#include "train/optimizer.h"

#include <cmath>
#include <limits>

#include "core/ops/adamw.h"
#include "core/profiler.h"

namespace photon {

Optimizer::Optimizer(const Context& context, const ParameterSet& parameters, const OptimizerConfig& config)
    : context_(context),
      config_(config),
      ranges_(parameters.Ranges()),
      m_(context.Zeros({parameters.layout().shard_elements}, parameters.options().master)),
      v_(context.Zeros({parameters.layout().shard_elements}, parameters.options().master)) {}

std::vector<double> Optimizer::Controls(double lr, double largest_norm) const {
  const auto t = static_cast<double>(updates_ + 1);
  std::vector<double> values(ops::kAdamWControls);
  values[ops::kLearningRate] = lr;
  values[ops::kBiasCorrection1] = 1 - std::pow(config_.beta1(), t);
  values[ops::kBiasCorrection2] = 1 - std::pow(config_.beta2(), t);
  values[ops::kClipNorm] = config_.clip_norm() > 0 ? config_.clip_norm() : std::numeric_limits<double>::infinity();
  values[ops::kLargestNorm] = largest_norm;
  return values;
}

void Optimizer::Step(const Tensor& square_sum, const Tensor& losses, const Tensor& control) {
  const Scope scope(context_, "optimizer");
  ops::Clip(context_, square_sum, losses, control);
  ops::AdamWStep step{.beta1 = config_.beta1(), .beta2 = config_.beta2(), .eps = config_.eps(), .weight_decay = 0};
  for (const ParameterSet::Range& range : ranges_) {
    const auto rows = [&](const Tensor& flat) { return flat.Rows(range.begin, range.end); };
    step.weight_decay = range.decay ? config_.weight_decay() : 0;
    ops::AdamW(context_, step, control, range.master, range.gradient, rows(m_), rows(v_), range.compute);
  }
}

Tensor Optimizer::View(const Tensor& flat, const Parameter& p) {
  return flat.Rows(p.shard.at, p.shard.at + p.shard.end - p.shard.begin);
}

}  // namespace photon
