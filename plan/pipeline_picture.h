// A layout's pipeline, shown: how the model is cut, and who does what when.
#pragma once

#include <string>

#include "configs/run.pb.h"
#include "core/status.h"
#include "plan/prediction.h"

namespace photon {

struct PipelinePicture {
  std::string cut;  // a line a rank, the balance, and what goes between ranks
  std::string svg;  // the schedule over time
};

// `config` resolved, with pp > 1. Time as the schedule's own simulator has it: FLOPs at the share of the peak that the
// largest products reach.
absl::StatusOr<PipelinePicture> DrawPipeline(const RunConfig& config, const Machine& machine);

}  // namespace photon
