#include "train/health.h"

#include <cmath>
#include <limits>

#include "absl/strings/str_format.h"

namespace photon {
namespace {

constexpr double kMeanDecay = 0.98;  // some 50 steps of memory

}  // namespace

HealthMonitor::HealthMonitor(const HealthConfig& config, const RunState& state)
    : config_(config), skipped_in_row_(state.skipped_in_row()), mean_norm_(state.grad_norm_mean()) {}

double HealthMonitor::LargestNorm() const {
  const bool limited = config_.spike_factor() > 0 && mean_norm_ > 0;
  return limited ? config_.spike_factor() * mean_norm_ : std::numeric_limits<double>::infinity();
}

std::string HealthMonitor::Judge(double loss, double gradient_norm, bool applied) {
  if (applied) {
    skipped_in_row_ = 0;
    mean_norm_ = mean_norm_ == 0 ? gradient_norm : kMeanDecay * mean_norm_ + (1 - kMeanDecay) * gradient_norm;
    return "";
  }
  ++skipped_in_row_;
  if (!std::isfinite(loss)) return absl::StrFormat("the loss is %g", loss);
  if (!std::isfinite(gradient_norm)) return absl::StrFormat("the gradient norm is %g", gradient_norm);
  return absl::StrFormat("the gradient norm %.3g is over %g times its recent mean %.3g", gradient_norm,
                         config_.spike_factor(), mean_norm_);
}

absl::Status HealthMonitor::Verdict(const std::string& batch) const {
  if (skipped_in_row_ <= config_.max_skipped_in_row()) return absl::OkStatus();
  return absl::AbortedError(
      absl::StrFormat("%d bad steps in a row, the last one on %s: training stopped itself. Lower "
                      "training.optimizer.peak_lr, look at that "
                      "data, or raise training.health.max_skipped_in_row; --resume goes on from the last checkpoint",
                      skipped_in_row_, batch));
}

void HealthMonitor::Save(RunState* state) const {
  state->set_skipped_in_row(skipped_in_row_);
  state->set_grad_norm_mean(mean_norm_);
}

}  // namespace photon
