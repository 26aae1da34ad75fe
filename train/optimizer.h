// AdamW over a parameter set: fp32 master weights, moments in flat buffers beside them. Where the set is sharded, over
// what this rank keeps of it.
#pragma once

#include <cstdint>
#include <vector>

#include "configs/training.pb.h"
#include "core/parameter.h"

namespace photon {

class Optimizer {
 public:
  // The set must be allocated, with gradients, and outlive this.
  Optimizer(const Context& context, const ParameterSet& parameters, const OptimizerConfig& config);

  // What the next update is told: the elements of ops::AdamWControl that the host writes, at learning rate `lr`; a step
  // whose gradient norm is above `largest_norm` will be skipped.
  std::vector<double> Controls(double lr, double largest_norm) const;
  // Queues one update, or none where the gradients or `losses` f64 [n] are bad: control[ops::kGradientScale] says
  // which. The gradients are those in the set (reduce them first), `square_sum` f64 [1] of all ranks'
  // (train/gradient_norm.h); `control` f64 [ops::kAdamWControls] holds Controls(). Compute copies of what is updated
  // follow.
  void Step(const Tensor& square_sum, const Tensor& losses, const Tensor& control);
  // After a Step() that updated.
  void CountUpdate() { ++updates_; }

  // A parameter's moments: of the elements that this rank keeps (Parameter::Shard), [end - begin].
  Tensor m(const Parameter& parameter) const { return View(m_, parameter); }
  Tensor v(const Parameter& parameter) const { return View(v_, parameter); }
  // Updates applied so far: AdamW's t. Restored from a checkpoint with the moments.
  int64_t updates() const { return updates_; }
  void set_updates(int64_t updates) { updates_ = updates; }

 private:
  static Tensor View(const Tensor& flat, const Parameter& parameter);

  const Context& context_;
  OptimizerConfig config_;
  std::vector<ParameterSet::Range> ranges_;
  Tensor m_, v_;
  int64_t updates_ = 0;
};

}  // namespace photon
