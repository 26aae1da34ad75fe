#include "study/study.h"

#include <algorithm>
#include <cmath>
#include <iostream>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "configs/model_config.h"
#include "core/human.h"
#include "core/progress.h"
#include "core/rounding.h"
#include "core/status.h"
#include "data/open.h"
#include "parallel/communicator.h"
#include "study/study_data.h"
#include "train/train.h"
#include "train/validation.h"

namespace photon::study {
namespace {

// Sequences at once: enough that weights are read for many, few enough for small machines.
constexpr int64_t kBatch = 16;

absl::Status Named(const std::string& name, const absl::Status& status) {
  return absl::Status(status.code(), absl::StrCat(name, ": ", status.message()));
}

// The sequences that every run validates on.
struct Validation {
  std::vector<std::vector<int32_t>> pieces;
  double bytes_per_token = 0;
};

absl::StatusOr<Validation> OpenValidation(const Options& options, const PlannedRun& run) {
  const DataConfig& data = run.config.data();
  PHOTON_ASSIGN_OR_RETURN(const OpenedData opened, OpenData(data, options.vocab_size, data.align()));
  const Dataset& valid = *opened.valid[0].dataset;
  PHOTON_ASSIGN_OR_RETURN(const TokenBatch batch, valid.Samples(0, ValidationSequences(valid, run.config.training())));
  Validation validation = {.pieces = ScoredPieces(batch)};
  if (opened.tokenizer == nullptr) return validation;
  int64_t scored = 0;
  for (const auto& piece : validation.pieces) scored += static_cast<int64_t>(piece.size()) - 1;
  validation.bytes_per_token = static_cast<double>(ScoredBytes(*opened.tokenizer, validation.pieces)) /
                               static_cast<double>(std::max<int64_t>(scored, 1));
  return validation;
}

class Measurer {
 public:
  Measurer(const Options& options, Validation validation, OpenedDevice& device)
      : options_(options), validation_(std::move(validation)), device_(device), protocol_(device, DTypeOf(options)) {}

  // Adds to `points` those of the run, or, of further seeds, its losses.
  absl::Status Add(const PlannedRun& run, const RunState& state, const std::vector<GenerationMode>& modes,
                   std::vector<Point>* points) {
    PHOTON_ASSIGN_OR_RETURN(const auto loaded, LoadedModel::Load(run.config.run_dir(), DTypeOf(options_), device_));
    const bool one_mode = !ByMetaContexts(loaded->model().levels(), GenerationMode::kRec);
    for (const GenerationMode mode : one_mode ? std::vector{GenerationMode::kHier} : modes) {
      double loss = state.valid_loss;
      if (mode != GenerationMode::kHier) {
        PHOTON_ASSIGN_OR_RETURN(loss, ModeLoss(*loaded, mode, validation_.pieces, ExactPrefix(run)));
      }
      if (!std::isfinite(loss)) {
        return absl::DataLossError(
            absl::StrCat("its loss by ", Name(mode), " is no number: leave it out (--kinds, --sizes)"));
      }
      const auto known = std::find_if(points->begin(), points->end(), [&](const Point& point) {
        return point.kind == run.kind && point.size == run.size.name && point.mode == mode;
      });
      if (known != points->end()) {
        known->losses.push_back(loss);
        continue;
      }
      PHOTON_ASSIGN_OR_RETURN(const Speed speed,
                              MeasureSpeed(protocol_, loaded->model(), mode, options_.scale.sequence_length, kBatch));
      points->push_back({.kind = run.kind,
                         .size = run.size.name,
                         .mode = mode,
                         .parameters = run.parameters,
                         .losses = {loss},
                         .speed = speed});
    }
    return absl::OkStatus();
  }

 private:
  static DType DTypeOf(const Options& options) {
    DType type = DType::kF32;
    PHOTON_CHECK(ParseDType(options.dtype, &type)) << options.dtype;
    return type;
  }
  // As long as the prompt that speed is measured with, in whole meta-contexts.
  int64_t ExactPrefix(const PlannedRun& run) const {
    const int64_t meta = ChunkProduct(run.config.model());
    return RoundUp<int64_t>(options_.scale.sequence_length / 16, meta);
  }

  const Options& options_;
  const Validation validation_;
  OpenedDevice& device_;
  Protocol protocol_;
};

}  // namespace

absl::StatusOr<std::vector<RunState>> ReadRunStates(const std::vector<PlannedRun>& runs) {
  std::vector<RunState> states;
  for (const PlannedRun& run : runs) {
    PHOTON_ASSIGN_OR_RETURN(states.emplace_back(), ReadRunState(run));
  }
  return states;
}

absl::StatusOr<bool> TrainRuns(const Options& options, const std::vector<PlannedRun>& runs, OpenedDevice& device) {
  PHOTON_ASSIGN_OR_RETURN(std::vector<RunState> states, ReadRunStates(runs));
  for (size_t i = 0; i < runs.size(); ++i) {
    if (states[i].finished) continue;
    PHOTON_RETURN_IF_ERROR(CheckAndKeepData(options, runs));
    const double left = SecondsLeft(runs, states);
    std::cout << absl::StrFormat("== run %d of %d: %s, step %d of %d%s\n", i + 1, runs.size(), runs[i].name,
                                 states[i].steps, runs[i].steps(),
                                 left < 0 ? "" : absl::StrCat("; all training: ", HumanDuration(left), " left"))
              << std::flush;
    const absl::Status trained = Train(runs[i].config, {.resume = true, .init_from = ""}, device, SelfCommunicator());
    if (!trained.ok()) return Named(runs[i].name, trained);
    PHOTON_ASSIGN_OR_RETURN(states[i], ReadRunState(runs[i]));
    if (!states[i].finished) return false;
  }
  return true;
}

absl::StatusOr<Results> MeasureRuns(const Options& options, const std::vector<PlannedRun>& runs,
                                    const std::vector<GenerationMode>& modes, OpenedDevice& device) {
  PHOTON_RETURN_IF_ERROR(CheckAndKeepData(options, runs));
  Results results;
  results.options = options;
  results.device = device.Description();
  results.batch = kBatch;
  results.runs = runs;
  PHOTON_ASSIGN_OR_RETURN(results.states, ReadRunStates(runs));
  PHOTON_ASSIGN_OR_RETURN(Validation validation, OpenValidation(options, runs[0]));
  results.bytes_per_token = validation.bytes_per_token;
  Measurer measurer(options, std::move(validation), device);
  ProgressLine progress("measured models", /*shown=*/true, 0, ProgressLine::Unit::kThings);
  for (size_t i = 0; i < runs.size(); ++i) {
    const absl::Status measured = measurer.Add(runs[i], results.states[i], modes, &results.points);
    if (!measured.ok()) return Named(runs[i].name, measured);
    progress.Update(static_cast<int64_t>(i) + 1, static_cast<int64_t>(runs.size()));
  }
  return results;
}

}  // namespace photon::study
