// Continuing one prompt in any generation mode (docs/generation.md).
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "inference/decoding_state.h"
#include "inference/sampler.h"
#include "model/language_model.h"

namespace photon {

enum class GenerationMode { kHier, kHierParallel, kRec };

// "hier", "hier-parallel", "rec"; kInvalidArgument listing them for anything else.
absl::StatusOr<GenerationMode> ParseGenerationMode(absl::string_view name);
absl::string_view Name(GenerationMode mode);

struct GenerateOptions {
  GenerationMode mode = GenerationMode::kHier;
  int64_t max_new_tokens = 0;
  SamplingOptions sampling = {};
  std::optional<int32_t> stop = {};  // ends generation; neither it nor what follows it is returned
};

struct GenerateResult {
  std::vector<int32_t> tokens;  // max_new_tokens of them, fewer only where `stop` came
  bool stopped = false;
  double prefill_seconds = 0;  // reading the prompt
  double decode_seconds = 0;
  StateBytes bytes;  // at the end; windows: the most held at once
};

// Called with new tokens as they come: one at a time in hier, a meta-context's in the other modes.
using TokensSink = std::function<void(absl::Span<const int32_t>)>;

// kInvalidArgument for ids outside the vocabulary, sampling options out of range, an empty prompt to a flat model, and
// modes other than hier where the model has shift ALL (and L >= 2). At L <= 1 every mode is hier.
absl::StatusOr<GenerateResult> Generate(const Context& context, const LanguageModel& model,
                                        absl::Span<const int32_t> prompt, const GenerateOptions& options,
                                        const TokensSink& sink = nullptr);

}  // namespace photon
