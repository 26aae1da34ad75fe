#include "plan/plan.h"

#include <algorithm>
#include <map>
#include <string>
#include <utility>

#include "plan/candidates.h"

namespace photon {
namespace {

// Candidates that are looked at of one mesh, and of one mesh and set of kinds.
constexpr int kOfOneMesh = 3, kOfOneShape = 2;
constexpr int kRounds = 4;  // of dry runs, while nothing fits

std::string ShapeOf(const RunConfig& config) {
  ParallelConfig shape = config.parallel();
  shape.clear_shard();
  return shape.SerializeAsString();
}

std::string MeshOf(const RunConfig& config) {
  const ParallelConfig& p = config.parallel();
  return LayoutSizes{p.dp(), p.pp(), p.cp(), p.tp()}.ToString();
}

}  // namespace

absl::StatusOr<Plan> MakePlan(const RunConfig& config, const Machine& machine, const PlanOptions& options) {
  Plan plan;
  const std::vector<Candidate> candidates = Candidates(config, machine, options.devices);
  plan.considered = static_cast<int>(candidates.size());
  std::map<std::string, int> of_shape, of_mesh;
  int dry_runs = 0;
  for (const Candidate& candidate : candidates) {
    const bool enough = plan.fitting.empty() ? dry_runs >= kRounds * options.dry_runs : dry_runs >= options.dry_runs;
    if (enough) break;
    int& mesh = of_mesh[MeshOf(candidate.config)];
    int& shape = of_shape[ShapeOf(candidate.config)];
    if (mesh == kOfOneMesh || shape == kOfOneShape) continue;
    ++mesh, ++shape, ++dry_runs;
    PHOTON_ASSIGN_OR_RETURN(Prediction prediction, Predict(candidate.config, options.devices, machine));
    (prediction.fits(machine) ? plan.fitting : plan.too_large).push_back(std::move(prediction));
  }
  std::stable_sort(plan.fitting.begin(), plan.fitting.end(),
                   [](const Prediction& a, const Prediction& b) { return a.run.step_s < b.run.step_s; });
  std::stable_sort(plan.too_large.begin(), plan.too_large.end(), [](const Prediction& a, const Prediction& b) {
    return a.largest().memory.peak() < b.largest().memory.peak();
  });
  return plan;
}

absl::StatusOr<std::vector<Scaling>> WeakScaling(const RunConfig& config, const Machine& machine, int from, int to) {
  const ParallelConfig& parallel = config.parallel();
  const int replica = parallel.pp() * parallel.cp() * parallel.tp();
  PHOTON_ASSIGN_OR_RETURN(const LayoutSizes first, SizesOfLayout(parallel, from));
  const int share = config.training().batch_sequences() / first.dp;
  std::vector<Scaling> points;
  for (int devices = from; devices <= to; devices *= 2) {
    RunConfig grown = config;
    grown.mutable_parallel()->set_dp(devices / replica);
    grown.mutable_training()->set_batch_sequences(share * (devices / replica));
    PHOTON_ASSIGN_OR_RETURN(const Prediction p, Predict(grown, devices, machine));
    points.push_back({.devices = devices, .step_s = p.run.step_s});
    points.back().efficiency = points.front().step_s / p.run.step_s;
  }
  return points;
}

}  // namespace photon
