// How far a planned run has got, as its folder tells, and how long the rest will take.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "study/plan.h"

namespace photon::study {

struct RunState {
  bool finished = false;
  int64_t steps = 0;            // done, as far as metrics.jsonl knows
  double seconds = 0;           // that they took
  double seconds_per_step = 0;  // the median; 0: none was done
  double valid_loss = 0;        // of the last validation, nats per token; NaN where it was no number
  int64_t valid_step = 0;       // that it was made behind
  int64_t valid_tokens = 0;     // that it is a mean over
};

// A run that hasn't begun is all zeros. kInvalidArgument, naming the field, where the folder holds a run of another
// config: where data and folder lie apart, which may have been moved. kDataLoss where a finished run lacks its last
// validation.
absl::StatusOr<RunState> ReadRunState(const PlannedRun& run);

// Seconds for what is left of all runs. A run that hasn't begun is taken to compute as fast as those that have;
// negative where nothing has.
double SecondsLeft(const std::vector<PlannedRun>& runs, const std::vector<RunState>& states);

}  // namespace photon::study
