#include "study/run_state.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <numeric>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "configs/config.h"
#include "core/status.h"

namespace photon::study {
namespace {

// What makes two runs the same one, a line a field.
std::vector<std::string> Identity(RunConfig config) {
  config = Resolved(config, /*world_size=*/1);
  config.clear_run_dir();
  config.clear_parallel();  // written resolved or not; a study's runs have one rank
  config.mutable_data()->clear_train();
  config.mutable_data()->clear_valid();
  TrainingConfig& training = *config.mutable_training();
  training.clear_micro_batch_sequences();  // likewise
  training.clear_valid_every();            // how often a run looks up and saves changes nothing of what it learns
  training.clear_log_every();
  config.clear_checkpoint();
  return absl::StrSplit(ToText(config), '\n');
}

absl::Status CheckConfig(const PlannedRun& run, const std::string& path) {
  PHOTON_ASSIGN_OR_RETURN(const RunConfig begun, LoadRunConfig(path));
  const std::vector<std::string> want = Identity(run.config), have = Identity(begun);
  for (size_t i = 0; i < std::max(want.size(), have.size()); ++i) {
    const std::string w = i < want.size() ? want[i] : "", h = i < have.size() ? have[i] : "";
    if (w == h) continue;
    return absl::InvalidArgumentError(
        absl::StrCat(path, " is of a run with other options (\"", absl::StripAsciiWhitespace(h), "\", now \"",
                     absl::StripAsciiWhitespace(w), "\"): take the options it was begun with, or another --out"));
  }
  return absl::OkStatus();
}

void ReadMetrics(const std::string& path, RunState* state) {
  std::vector<double> seconds;
  std::ifstream in(path);
  for (std::string line; std::getline(in, line);) {
    const auto entry = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (!entry.is_object()) continue;  // torn by a kill
    if (entry.contains("valid_loss")) {
      const auto& loss = entry["valid_loss"];  // null where it was no number
      state->valid_loss = loss.is_number() ? loss.get<double>() : std::numeric_limits<double>::quiet_NaN();
      state->valid_step = entry.value("step", int64_t{0});
      state->valid_tokens = entry.value("valid_tokens", int64_t{0});
    } else if (entry.contains("step_s")) {
      state->steps = entry.value("step", int64_t{0});
      seconds.push_back(entry["step_s"].get<double>());
    }
  }
  if (seconds.empty()) return;
  // A machine that slept in the midst of a step says nothing of the next.
  const auto middle = seconds.begin() + static_cast<int64_t>(seconds.size() / 2);
  std::nth_element(seconds.begin(), middle, seconds.end());
  state->seconds_per_step = *middle;
  state->seconds = std::accumulate(seconds.begin(), seconds.end(), 0.0);
}

}  // namespace

absl::StatusOr<RunState> ReadRunState(const PlannedRun& run) {
  RunState state;
  const std::string folder = run.config.run_dir(), config = folder + "/config.textproto";
  if (!std::filesystem::exists(config)) return state;
  PHOTON_RETURN_IF_ERROR(CheckConfig(run, config));
  ReadMetrics(folder + "/metrics.jsonl", &state);
  state.finished = std::filesystem::exists(folder + "/finished");
  if (state.finished && state.valid_step < run.steps()) {
    return absl::DataLossError(absl::StrCat(folder, "/metrics.jsonl has no validation of step ", run.steps(),
                                            ", the run's last: train it anew with the folder removed"));
  }
  return state;
}

double SecondsLeft(const std::vector<PlannedRun>& runs, const std::vector<RunState>& states) {
  double flops = 0, seconds = 0;  // of what was done
  for (size_t i = 0; i < runs.size(); ++i) {
    flops += runs[i].step_flops * static_cast<double>(states[i].steps);
    seconds += states[i].seconds_per_step * static_cast<double>(states[i].steps);
  }
  if (flops == 0) return -1;
  double left = 0;
  for (size_t i = 0; i < runs.size(); ++i) {
    if (states[i].finished) continue;
    const double own = states[i].seconds_per_step;
    const double step = own > 0 ? own : runs[i].step_flops * seconds / flops;
    left += step * static_cast<double>(runs[i].steps() - states[i].steps);
  }
  return left;
}

}  // namespace photon::study
