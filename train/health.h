// The policy for steps that went wrong: a loss or gradient that is not finite, or a gradient far above its recent mean.
#pragma once

#include <string>

#include "configs/checkpoint.pb.h"
#include "configs/training.pb.h"
#include "core/status.h"

namespace photon {

// The decision itself falls on the device (core/ops/adamw.h), by numbers that are the same on all ranks, so that all
// ranks decide alike; the monitor sets its limit, says why, and counts. Its memory is part of the run's state: a
// resumed run judges as the undisturbed one.
class HealthMonitor {
 public:
  HealthMonitor(const HealthConfig& config, const RunState& state);

  // A step whose gradient norm is larger is a bad one; infinity where there is no limit (yet).
  double LargestNorm() const;
  // Takes note of a step. `applied`: what ops::Clip decided with LargestNorm(). Empty where it was, else the reason why
  // it was not.
  std::string Judge(double loss, double gradient_norm, bool applied);
  // kAborted (the run stops itself) once more than max_skipped_in_row steps in a row were bad. `batch` names the last.
  absl::Status Verdict(const std::string& batch) const;
  void Save(RunState* state) const;

 private:
  HealthConfig config_;
  int skipped_in_row_;
  double mean_norm_;  // exponential mean of the norms of healthy steps; 0 before the first
};

}  // namespace photon
