// How a run's model is cut over pipeline ranks, and in which order they work: a pure function of the config, so that
// every rank finds the same by itself.
#pragma once

#include <vector>

#include "configs/run.pb.h"
#include "core/status.h"
#include "parallel/pipeline/chain.h"
#include "parallel/pipeline/schedule.h"

namespace photon {

struct PipelinePlan {
  pipeline::Chain chain;
  pipeline::Layout layout;
  pipeline::Schedule schedule;
  // For ModelLayout::SetStages: the stage that has each item; -1: every one.
  std::vector<int> Stages() const;
};

// The chain of the model's items as a pipeline sees it: costs in FLOPs of one microbatch of one dp rank (what runs in
// slices has all of its cost in the forward pass), bytes as one cp and tp rank has them, roughly.
pipeline::Chain ChainOf(const RunConfig& config);

// `config` resolved. kInvalidArgument where the model can't be cut so, with the remedy.
absl::StatusOr<PipelinePlan> PlanPipeline(const RunConfig& config);

}  // namespace photon
