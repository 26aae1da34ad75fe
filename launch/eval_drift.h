// `photon eval --drift`: the drift of inference/eval/drift.h over texts, as a table, as JSON and as a picture.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "inference/eval/drift.h"
#include "inference/loaded_model.h"
#include "launch/wanted_picture.h"

namespace photon {

struct EvalDriftOptions {
  GenerationMode mode = GenerationMode::kRec;  // what is compared with hier
  std::string tokens;                          // a file of ids
  std::vector<std::string> texts;              // or files of text
  int64_t prefix = 1024;
  std::vector<int64_t> lengths = {1024, 4096};
  int64_t sequences = 1;  // stretches of each text, one behind the other, that means are taken over
};

// kInvalidArgument where a text is shorter than that takes, or the model has no such mode; kFailedPrecondition for a
// text where the checkpoint has no tokenizer.
absl::StatusOr<eval::Drift> EvaluateDrift(const LoadedModel& loaded, const EvalDriftOptions& options);

nlohmann::ordered_json DriftJson(const eval::Drift& drift, const EvalDriftOptions& options);
std::string DriftTable(const eval::Drift& drift, const EvalDriftOptions& options);
// `picture` of it.
absl::Status DrawDrift(const eval::Drift& drift, const EvalDriftOptions& options, const WantedPicture& picture);

}  // namespace photon
