// AdamW over a parameter set: fp32 master weights, moments in flat buffers beside them.
#pragma once

#include <cstdint>

#include "configs/training.pb.h"
#include "core/parameter.h"

namespace photon {

class Optimizer {
 public:
  // The set must be allocated, with gradients, and outlive this.
  Optimizer(const Context& context, ParameterSet& parameters, const OptimizerConfig& config);

  // Euclidean norm of all gradients (as they lie in the set: reduce them first).
  double GradientNorm() const;
  // One update at learning rate `lr`, gradients scaled down to clip_norm where `gradient_norm` exceeds it; refreshes
  // the compute copies.
  void Step(double lr, double gradient_norm);

  // A parameter's moments, views of its shape.
  Tensor m(const Parameter& parameter) const { return View(m_, parameter); }
  Tensor v(const Parameter& parameter) const { return View(v_, parameter); }
  // Updates applied so far: AdamW's t. Restored from a checkpoint with the moments.
  int64_t updates() const { return updates_; }
  void set_updates(int64_t updates) { updates_ = updates; }

 private:
  static Tensor View(const Tensor& flat, const Parameter& parameter);

  const Context& context_;
  ParameterSet& parameters_;
  OptimizerConfig config_;
  Tensor m_, v_;
  Tensor square_sum_;
  int64_t updates_ = 0;
};

}  // namespace photon
