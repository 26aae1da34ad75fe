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
  std::string kept = "its checkpoint is kept";
  if (best_saved_step_ != best_step_) {
    kept = "its checkpoint could not be saved";
    if (best_saved_step_ >= 0)
      absl::StrAppendFormat(&kept, ", that of step %d, the best before, is kept", best_saved_step_);
  }
  return absl::StrFormat(
      "early stop: %d validations in a row were not better by %g than that of step %d, validation loss %.4f; %s",
      since_best_, config_.min_delta(), best_step_, best_loss_, kept);
}

void EarlyStop::Restore(const RunState& state) {
  any_ = state.has_best_step();
  best_step_ = state.best_step();
  best_loss_ = state.best_valid_loss();
  best_saved_step_ = state.has_best_saved_step() ? state.best_saved_step() : -1;
  since_best_ = state.validations_since_best();
  last_step_ = state.step();
}

void EarlyStop::Save(RunState* state) const {
  if (!on()) return;
  state->set_validations_since_best(since_best_);
  if (!any_) return;
  state->set_best_step(best_step_);
  state->set_best_valid_loss(best_loss_);
  const int64_t saved = state->step() == best_step_ ? best_step_ : best_saved_step_;
  if (saved >= 0) state->set_best_saved_step(saved);
}

void EarlyStop::Saved(const RunState& state) {
  if (state.has_best_saved_step()) best_saved_step_ = state.best_saved_step();
}

}  // namespace photon
