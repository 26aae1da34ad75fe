#include "train/optimizer.h"

#include <cmath>

#include "core/ops/adamw.h"

namespace photon {

Optimizer::Optimizer(const Context& context, ParameterSet& parameters, const OptimizerConfig& config)
    : context_(context),
      parameters_(parameters),
      config_(config),
      m_(context.Zeros(parameters.master().shape(), parameters.master().dtype())),
      v_(context.Zeros(parameters.master().shape(), parameters.master().dtype())),
      square_sum_(context.Empty({1}, DType::kF64)) {}

double Optimizer::GradientNorm() const {
  ops::SumSquares(context_, parameters_.gradient(), square_sum_);
  double sum = 0;
  context_.ToHost(square_sum_, &sum);
  return std::sqrt(sum);
}

void Optimizer::Step(double lr, double gradient_norm) {
  ++updates_;
  ops::AdamWStep step{.lr = lr,
                      .beta1 = config_.beta1(),
                      .beta2 = config_.beta2(),
                      .eps = config_.eps(),
                      .weight_decay = 0,
                      .gradient_scale = 1,
                      .t = updates_};
  if (config_.clip_norm() > 0 && gradient_norm > config_.clip_norm()) {
    step.gradient_scale = config_.clip_norm() / gradient_norm;
  }
  for (const std::unique_ptr<Parameter>& p : parameters_.parameters()) {
    step.weight_decay = p->spec.decay ? config_.weight_decay() : 0;
    ops::AdamW(context_, step, p->master, p->gradient, m(*p), v(*p));
  }
  parameters_.RefreshCompute(context_);
}

Tensor Optimizer::View(const Tensor& flat, const Parameter& p) {
  return flat.Rows(p.begin, p.begin + p.elements()).Reshape(p.local.shape);
}

}  // namespace photon
