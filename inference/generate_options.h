// What to generate: plain data.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "configs/model.pb.h"
#include "inference/sampling_options.h"

namespace photon {

enum class GenerationMode { kHier, kHierParallel, kRec };

// "hier", "hier-parallel", "rec"; kInvalidArgument listing them for anything else.
absl::StatusOr<GenerationMode> ParseGenerationMode(absl::string_view name);
absl::string_view Name(GenerationMode mode);

// Whether a model of so many levels goes by whole meta-contexts in that mode: at L <= 1 every mode is hier.
inline bool ByMetaContexts(int levels, GenerationMode mode) { return levels >= 2 && mode != GenerationMode::kHier; }

// kInvalidArgument where the model has no such mode: shift ALL (and L >= 2) knows hier alone.
absl::Status CheckMode(const ModelConfig& config, GenerationMode mode);
// The modes that the model has and that differ: hier alone at L <= 1.
std::vector<GenerationMode> DistinctModes(const ModelConfig& config);

// What ends a sequence before its limit.
struct StopOptions {
  std::vector<int32_t> tokens = {};       // neither the token nor what follows it is returned
  std::vector<std::string> strings = {};  // in the text of the new tokens, across their borders; need a tokenizer
  // As many tokens come first: stop tokens can't be chosen before, and text of these tokens stops nothing (vLLM's
  // min_tokens).
  int64_t min_new_tokens = 0;
};

struct GenerateOptions {
  GenerationMode mode = GenerationMode::kHier;
  int64_t max_new_tokens = 0;
  SamplingOptions sampling = {};
  StopOptions stop = {};
  int64_t continuations = 1;       // of the one prompt
  int32_t log_probabilities = -1;  // -1: none; n: of each token chosen and of the n most likely
};

// kInvalidArgument naming the option: what can be judged without a model, then what needs its config.
absl::Status ValidateOptions(const GenerateOptions& options);
absl::Status ValidateOptions(const GenerateOptions& options, const ModelConfig& config);

}  // namespace photon
