// The profile of a run's first steps: which steps are looked at, and the files they leave in the run's folder.
#pragma once

#include <cstdint>
#include <string>

#include "core/allocator.h"
#include "core/profiler.h"
#include "core/status.h"
#include "train/profile_report.h"

namespace photon {

class StepProfile {
 public:
  // Looks at `steps` steps (0: none), after two that warm up. `marker` is shown the scopes of all steps; may be null.
  explicit StepProfile(int64_t steps, RangeMarker* marker = nullptr) : steps_(steps) { profiler_.SetMarker(marker); }

  // For the context that the run computes in; null where nothing is looked at.
  Profiler* profiler() { return steps_ > 0 || profiler_.listens() ? &profiler_ : nullptr; }

  void BeginStep(const Arena& arena);
  // True after the last step looked at.
  bool EndStep(const Arena& arena);
  // Between the two: when another thread reduced gradients.
  void AddReduction(double begin, double end) { profiler_.AddSpan("gradient bucket", /*track=*/1, begin, end); }

  std::string Table() const { return ProfileTable(profiler_, profiled_); }
  // Writes run_dir/profile.json (rank 0) and run_dir/trace.RANK.json.
  absl::Status Write(const std::string& run_dir, int rank) const;

 private:
  static constexpr int kWarmUp = 2;

  const int64_t steps_;
  int64_t seen_ = 0;
  double began_ = 0;
  int64_t grown_ = 0;  // the arena, before the step
  Profiler profiler_;
  ProfiledSteps profiled_;
};

}  // namespace photon
