#include "inference/generate_options.h"

#include <algorithm>
#include <limits>

#include "absl/strings/str_cat.h"
#include "core/status.h"
#include "inference/option_error.h"
#include "inference/stop_text.h"

namespace photon {
namespace {

absl::Status AtLeast(absl::string_view option, int64_t value, int64_t least) {
  if (value >= least) return absl::OkStatus();
  return OptionError(option, absl::StrCat("--", option, " is ", value, ": give ", least, " or more"));
}

// So that sums and products of lengths and bytes stay far from the end of 64 bits.
absl::Status AtMost32Bits(absl::string_view option, int64_t value) {
  constexpr int64_t kMost = std::numeric_limits<int32_t>::max();
  if (value <= kMost) return absl::OkStatus();
  return OptionError(option, absl::StrCat("--", option, " is ", value, ": give ", kMost, " or less"));
}

absl::Status CheckId(absl::string_view option, int32_t id, int64_t vocabulary) {
  if (id >= 0 && id < vocabulary) return absl::OkStatus();
  return OptionError(option, absl::StrCat("--", option, ": the model has no token id ", id, ": its vocabulary of ",
                                          vocabulary, " has ids 0 to ", vocabulary - 1));
}

// Something must be left to choose, wherever bad words stand.
absl::Status CheckBans(const GenerateOptions& options, int64_t vocabulary) {
  const SamplingOptions& sampling = options.sampling;
  std::vector<int32_t> banned;
  for (const LogitBias& bias : sampling.logit_bias) {
    if (bias.bias < -1e30) banned.push_back(bias.token);
  }
  if (options.stop.min_new_tokens > 0) {
    banned.insert(banned.end(), options.stop.tokens.begin(), options.stop.tokens.end());
  }
  for (const std::vector<int32_t>& word : sampling.bad_words) banned.push_back(word.back());
  std::vector<bool> left(static_cast<size_t>(vocabulary), sampling.allowed_tokens.empty());
  for (const int32_t token : sampling.allowed_tokens) left[token] = true;
  for (const int32_t token : banned) {
    if (token < vocabulary) left[token] = false;
  }
  if (std::find(left.begin(), left.end(), true) != left.end()) return absl::OkStatus();
  return OptionError(sampling.allowed_tokens.empty() ? "logit-bias" : "allowed-token",
                     "--allowed-token, --logit-bias, --bad-word and --stop-token (with --min-new-tokens) leave no "
                     "token to choose: leave one");
}

}  // namespace

absl::StatusOr<GenerationMode> ParseGenerationMode(absl::string_view name) {
  for (GenerationMode mode : {GenerationMode::kHier, GenerationMode::kHierParallel, GenerationMode::kRec}) {
    if (name == Name(mode)) return mode;
  }
  return absl::InvalidArgumentError(absl::StrCat("mode is \"", name, "\": give hier, hier-parallel or rec"));
}

absl::string_view Name(GenerationMode mode) {
  switch (mode) {
    case GenerationMode::kHier:
      return "hier";
    case GenerationMode::kHierParallel:
      return "hier-parallel";
    case GenerationMode::kRec:
      return "rec";
  }
  return "";
}

absl::Status CheckMode(const ModelConfig& config, GenerationMode mode) {
  const bool shifts_all = config.shift() == ModelConfig::ALL && config.levels_size() >= 2;
  if (!shifts_all || mode == GenerationMode::kHier) return absl::OkStatus();
  return OptionError("mode", absl::StrCat("mode ", Name(mode),
                                          " is defined for models with shift: TOP; this one has shift: ALL. "
                                          "Use mode hier"));
}

std::vector<GenerationMode> DistinctModes(const ModelConfig& config) {
  std::vector<GenerationMode> modes = {GenerationMode::kHier};
  for (const GenerationMode mode : {GenerationMode::kHierParallel, GenerationMode::kRec}) {
    if (ByMetaContexts(config.levels_size(), mode) && CheckMode(config, mode).ok()) modes.push_back(mode);
  }
  return modes;
}

absl::Status ValidateOptions(const GenerateOptions& options) {
  PHOTON_RETURN_IF_ERROR(ValidateSampling(options.sampling));
  PHOTON_RETURN_IF_ERROR(ValidateStopStrings(options.stop.strings));
  PHOTON_RETURN_IF_ERROR(AtLeast("max-new-tokens", options.max_new_tokens, 0));
  PHOTON_RETURN_IF_ERROR(AtMost32Bits("max-new-tokens", options.max_new_tokens));
  PHOTON_RETURN_IF_ERROR(AtLeast("min-new-tokens", options.stop.min_new_tokens, 0));
  PHOTON_RETURN_IF_ERROR(AtMost32Bits("min-new-tokens", options.stop.min_new_tokens));
  PHOTON_RETURN_IF_ERROR(AtLeast("n", options.continuations, 1));
  PHOTON_RETURN_IF_ERROR(AtLeast("logprobs", options.log_probabilities, -1));
  if (options.stop.min_new_tokens <= options.max_new_tokens) return absl::OkStatus();
  return OptionError("min-new-tokens",
                     absl::StrCat("--min-new-tokens is ", options.stop.min_new_tokens, ", more than --max-new-tokens, ",
                                  options.max_new_tokens, ": lower the one or raise the other"));
}

absl::Status ValidateOptions(const GenerateOptions& options, const ModelConfig& config) {
  PHOTON_RETURN_IF_ERROR(ValidateOptions(options));
  PHOTON_RETURN_IF_ERROR(CheckMode(config, options.mode));
  for (const int32_t token : options.stop.tokens) {
    PHOTON_RETURN_IF_ERROR(CheckId("stop-token", token, config.vocab_size()));
  }
  for (const LogitBias& bias : options.sampling.logit_bias) {
    PHOTON_RETURN_IF_ERROR(CheckId("logit-bias", bias.token, config.vocab_size()));
  }
  for (const int32_t token : options.sampling.allowed_tokens) {
    PHOTON_RETURN_IF_ERROR(CheckId("allowed-token", token, config.vocab_size()));
  }
  return CheckBans(options, config.vocab_size());
}

}  // namespace photon
