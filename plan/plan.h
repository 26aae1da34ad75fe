// Which layout for a model and a number of devices: those that can be are enumerated, the most promising dry-run, and
// what fits the memory is ordered by the predicted time of a step.
#pragma once

#include <functional>
#include <vector>

#include "configs/run.pb.h"
#include "core/status.h"
#include "plan/prediction.h"

namespace photon {

struct PlanOptions {
  int devices = 1;
  int dry_runs = 16;  // layouts that are looked at closely
  // Called before each dry run, with how many were made and about how many there will be.
  std::function<void(int done, int total)> progress = [](int, int) {};
};

struct Plan {
  std::vector<Prediction> fitting;    // the fastest first
  std::vector<Prediction> too_large;  // those that need least first
  int considered = 0;                 // layouts that the model and the batch can have
};

// `config`'s model, data and batch; its layout is of no account, but for what no layout decides (timeouts, buckets).
// Both lists are empty where no layout's state alone would fit.
absl::StatusOr<Plan> MakePlan(const RunConfig& config, const Machine& machine, const PlanOptions& options);

// Steps of the same layout on more and more devices, data-parallel replicas and batch growing alike.
struct Scaling {
  int devices = 0;
  double step_s = 0;
  double efficiency = 0;  // tokens a second and device, over those of the first
};
// kInvalidArgument where the layout does not fit, into the ranks or the memory, at any of these.
absl::StatusOr<std::vector<Scaling>> WeakScaling(const RunConfig& config, const Machine& machine, int from, int to);

}  // namespace photon
