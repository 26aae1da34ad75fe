// A study: trains what was planned, one run after the other, then measures all of them.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/device.h"
#include "study/plan.h"
#include "study/report.h"

namespace photon::study {

// Of each planned run, in order. Errors as ReadRunState.
absl::StatusOr<std::vector<RunState>> ReadRunStates(const std::vector<PlannedRun>& runs);

// Trains what isn't finished, going on from checkpoints, each run as `photon train` would (train/train.h) on one rank.
// False where a signal asked for the end: the run under way is saved. Errors are the run's, named, or of
// CheckAndKeepData: before each run, since files may be prepared anew while the one before it trains for hours.
absl::StatusOr<bool> TrainRuns(const Options& options, const std::vector<PlannedRun>& runs, OpenedDevice& device);

// Of finished runs. `modes`: of generation, where the model has them. Loads each model in options.dtype. Also errors of
// CheckAndKeepData.
absl::StatusOr<Results> MeasureRuns(const Options& options, const std::vector<PlannedRun>& runs,
                                    const std::vector<GenerationMode>& modes, OpenedDevice& device);

}  // namespace photon::study
