#include "train/early_stop.h"

#include "absl/strings/str_format.h"

namespace photon {

bool EarlyStop::Add(int64_t step, double loss) {
  if (!on() || step == last_step_) return false;
  last_step_ = step;
  const bool better = any_ ? loss < best_loss_ - config_.min_delta() : loss == loss;
  if (!better) {
    ++since_best_;
    return false;
  }
  any_ = true;
  best_loss_ = loss;
  best_step_ = step;
  since_best_ = 0;
  return true;
}

std::string EarlyStop::Message() const {
  if (!any_) return absl::StrFormat("early stop: none of %d validations gave a number", since_best_);
  return absl::StrFormat(
      "early stop: %d validations in a row were not better by %g than that of step %d, validation loss %.4f; its "
      "checkpoint is kept",
      since_best_, config_.min_delta(), best_step_, best_loss_);
}

void EarlyStop::Restore(const RunState& state) {
  any_ = state.has_best_step();
  best_step_ = state.best_step();
  best_loss_ = state.best_valid_loss();
  since_best_ = state.validations_since_best();
  last_step_ = state.step();
}

void EarlyStop::Save(RunState* state) const {
  if (!on()) return;
  state->set_validations_since_best(since_best_);
  if (!any_) return;
  state->set_best_step(best_step_);
  state->set_best_valid_loss(best_loss_);
}

}  // namespace photon
