#include "train/optimizer.h"

#include <cmath>

#include "core/ops/adamw.h"
#include "core/profiler.h"

namespace photon {

Optimizer::Optimizer(const Context& context, ParameterSet& parameters, const OptimizerConfig& config)
    : context_(context),
      parameters_(parameters),
      config_(config),
      m_(context.Zeros(parameters.master().shape(), parameters.master().dtype())),
      v_(context.Zeros(parameters.master().shape(), parameters.master().dtype())),
      square_sum_(context.Empty({1}, DType::kF64)) {}

double Optimizer::GradientNorm() const {
  const Scope scope(context_, "gradient norm");
  ops::SumSquares(context_, parameters_.gradient(), square_sum_);
  double sum = 0;
  context_.ToHost(square_sum_, &sum);
  return std::sqrt(sum);
}

void Optimizer::Step(double lr, double gradient_norm) {
  const Scope scope(context_, "optimizer");
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
  // Neighbours that decay alike are one range of the flat buffers. Gaps between them are zero, and stay it.
  const std::vector<std::unique_ptr<Parameter>>& all = parameters_.parameters();
  for (size_t first = 0, next = 0; first < all.size(); first = next) {
    const bool decay = all[first]->spec.decay;
    while (next < all.size() && all[next]->spec.decay == decay) ++next;
    step.weight_decay = decay ? config_.weight_decay() : 0;
    const int64_t begin = all[first]->begin, end = all[next - 1]->begin + all[next - 1]->elements();
    ops::AdamW(context_, step, parameters_.master().Rows(begin, end), parameters_.gradient().Rows(begin, end),
               m_.Rows(begin, end), v_.Rows(begin, end));
  }
  parameters_.RefreshCompute(context_);
}

Tensor Optimizer::View(const Tensor& flat, const Parameter& p) {
  return flat.Rows(p.begin, p.begin + p.elements()).Reshape(p.local.shape);
}

}  // namespace photon
