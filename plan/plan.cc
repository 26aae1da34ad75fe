#include "plan/plan.h"

#include <algorithm>
#include <limits>
#include <map>
#include <set>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "configs/config.h"
#include "plan/candidates.h"

namespace photon {
namespace {

constexpr int kRounds = 4;      // of dry runs, while nothing fits
constexpr size_t kRefined = 3;  // meshes of which more candidates are looked at
constexpr int kOfOneMesh = 4;   // then

std::string MeshOf(const RunConfig& config) {
  const ParallelConfig& p = config.parallel();
  return LayoutSizes{p.dp(), p.pp(), p.cp(), p.tp()}.ToString();
}

void Sort(Plan* plan) {
  std::stable_sort(plan->fitting.begin(), plan->fitting.end(),
                   [](const Prediction& a, const Prediction& b) { return a.run.step_s < b.run.step_s; });
  std::stable_sort(plan->too_large.begin(), plan->too_large.end(), [](const Prediction& a, const Prediction& b) {
    return a.largest().memory.peak() < b.largest().memory.peak();
  });
}

void Add(Prediction prediction, const Machine& machine, Plan* plan) {
  (prediction.fits(machine) ? plan->fitting : plan->too_large).push_back(std::move(prediction));
}

// What is recommended was run with all its microbatches. That may show another to be the fastest.
absl::Status Confirm(const Machine& machine, int devices, Plan* plan) {
  std::set<std::string> confirmed;
  while (!plan->fitting.empty()) {
    const RunConfig config = plan->fitting.front().config;
    if (!confirmed.insert(config.SerializeAsString()).second) break;
    plan->fitting.erase(plan->fitting.begin());
    PHOTON_ASSIGN_OR_RETURN(Prediction exact, Predict(config, devices, machine, {.all_microbatches = true}));
    Add(std::move(exact), machine, plan);
    Sort(plan);
  }
  return absl::OkStatus();
}

}  // namespace

// One candidate of each mesh first: guesses tell meshes apart less well than dry runs do. Then more of the best ones.
absl::StatusOr<Plan> MakePlan(const RunConfig& config, const Machine& machine, const PlanOptions& options) {
  Plan plan;
  const std::vector<Candidate> candidates = Candidates(config, machine, options.devices);
  plan.considered = static_cast<int>(candidates.size());
  std::map<std::string, std::vector<const Candidate*>> of_mesh;  // by guess
  std::vector<std::pair<size_t, const Candidate*>> order;        // number in its mesh
  for (const Candidate& candidate : candidates) {
    std::vector<const Candidate*>& same = of_mesh[MeshOf(candidate.config)];
    order.emplace_back(same.size(), &candidate);
    same.push_back(&candidate);
  }
  std::stable_sort(order.begin(), order.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  std::map<std::string, int> looked_at;
  int dry_runs = 0;
  const auto look_at = [&](const Candidate& candidate, int most) -> absl::Status {
    options.progress(dry_runs++, std::min(most, plan.considered));
    PHOTON_ASSIGN_OR_RETURN(Prediction prediction, Predict(candidate.config, options.devices, machine));
    Add(std::move(prediction), machine, &plan);
    return absl::OkStatus();
  };
  const int refinements = static_cast<int>(kRefined) * (kOfOneMesh - 1);
  for (const auto& [number, candidate] : order) {
    const int most = (plan.fitting.empty() ? kRounds : 1) * options.dry_runs;
    if (dry_runs >= most) break;
    PHOTON_RETURN_IF_ERROR(look_at(*candidate, most + refinements));
    ++looked_at[MeshOf(candidate->config)];
  }
  Sort(&plan);
  std::vector<std::string> best;
  for (size_t i = 0; i < std::min(kRefined, plan.fitting.size()); ++i) best.push_back(MeshOf(plan.fitting[i].config));
  for (const std::string& mesh : best) {
    for (int& i = looked_at[mesh]; i < std::min<int>(kOfOneMesh, static_cast<int>(of_mesh[mesh].size())); ++i) {
      PHOTON_RETURN_IF_ERROR(look_at(*of_mesh[mesh][i], dry_runs + refinements));
    }
  }
  Sort(&plan);
  PHOTON_RETURN_IF_ERROR(Confirm(machine, options.devices, &plan));
  return plan;
}

absl::StatusOr<std::vector<Scaling>> WeakScaling(const RunConfig& config, const Machine& machine, int from, int to) {
  PHOTON_RETURN_IF_ERROR(ValidateRun(config, from));
  PHOTON_ASSIGN_OR_RETURN(const LayoutSizes first, SizesOfLayout(config.parallel(), from));
  const int64_t batch = config.training().batch_sequences();
  std::vector<Scaling> points;
  for (int times = 1; int64_t{from} * times <= to; times *= 2) {
    RunConfig grown = config;
    if (batch * times > std::numeric_limits<int32_t>::max()) {
      return absl::InvalidArgumentError(
          absl::StrCat("training.batch_sequences = ", batch, ", ", times, " times: too many"));
    }
    grown.mutable_parallel()->set_dp(first.dp * times);
    grown.mutable_training()->set_batch_sequences(static_cast<int32_t>(batch * times));
    PHOTON_ASSIGN_OR_RETURN(const Prediction p, Predict(grown, from * times, machine));
    PHOTON_RETURN_IF_ERROR(CheckMemory(p, machine));
    points.push_back({.devices = from * times, .step_s = p.run.step_s});
    points.back().efficiency = points.front().step_s / p.run.step_s;
  }
  return points;
}

}  // namespace photon
