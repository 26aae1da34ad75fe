#include "train/step_profile.h"

#include "absl/strings/str_cat.h"
#include "core/file.h"
#include "core/time.h"

namespace photon {

void StepProfile::BeginStep(const Arena& arena) {
  profiler_.SetActive(seen_ >= kWarmUp && profiled_.steps < steps_);
  grown_ = arena.grown();
  began_ = Now();
}

bool StepProfile::EndStep(const Arena& arena) {
  ++seen_;
  if (!profiler_.active()) return false;
  const double now = Now();
  profiler_.AddSpan("step", /*track=*/0, began_, now);
  profiled_.seconds += now - began_;
  profiled_.arena_grown += arena.grown() - grown_;
  ++profiled_.steps;
  profiler_.SetActive(false);
  return profiled_.steps == steps_;
}

absl::Status StepProfile::Write(const std::string& run_dir, int rank) const {
  if (rank == 0) PHOTON_RETURN_IF_ERROR(WriteFile(run_dir + "/profile.json", ProfileJson(profiler_, profiled_) + "\n"));
  return WriteFile(absl::StrCat(run_dir, "/trace.", rank, ".json"), TraceJson(profiler_, rank));
}

}  // namespace photon
