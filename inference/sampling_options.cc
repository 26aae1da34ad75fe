#include "inference/sampling_options.h"

#include <cmath>

#include "absl/strings/str_cat.h"
#include "core/status.h"
#include "inference/option_error.h"

namespace photon {
namespace {

absl::Status Refuse(absl::string_view option, double value, absl::string_view remedy) {
  return OptionError(option, absl::StrCat("--", option, " is ", value, ": give ", remedy));
}

absl::Status ValidatePenalties(const SamplingOptions& options) {
  // Far more than any use of them, far less than would bury the logits' digits or make a token impossible.
  constexpr double kLargest = 100;
  if (!(options.repetition_penalty >= 1 / kLargest && options.repetition_penalty <= kLargest)) {
    return Refuse("repetition-penalty", options.repetition_penalty,
                  "a number from 0.01 to 100, 1 being off, such as 1.1");
  }
  if (!(std::abs(options.presence_penalty) <= kLargest)) {
    return Refuse("presence-penalty", options.presence_penalty, "a number from -100 to 100, 0 being off");
  }
  if (!(std::abs(options.frequency_penalty) <= kLargest)) {
    return Refuse("frequency-penalty", options.frequency_penalty, "a number from -100 to 100, 0 being off");
  }
  for (const LogitBias& bias : options.logit_bias) {
    if (bias.token < 0) {
      return OptionError("logit-bias", absl::StrCat("--logit-bias: token ", bias.token, ": give a token id"));
    }
    if (std::isnan(bias.bias) || bias.bias == INFINITY) {
      return OptionError("logit-bias", absl::StrCat("--logit-bias: the bias of token ", bias.token, " is ", bias.bias,
                                                    ": give a finite number, or -inf to ban the token"));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status ValidateSampling(const SamplingOptions& options) {
  if (!(options.temperature >= 0) || std::isinf(options.temperature)) {
    return Refuse("temperature", options.temperature, "a number from 0 (greedy) upward, such as 0.8");
  }
  if (options.top_k < 0) return Refuse("top-k", options.top_k, "0 (off) or more");
  if (!(options.top_p > 0 && options.top_p <= 1)) {
    return Refuse("top-p", options.top_p, "a number in (0, 1], 1 being off");
  }
  if (!(options.min_p >= 0 && options.min_p <= 1)) {
    return Refuse("min-p", options.min_p, "a number in [0, 1], 0 being off");
  }
  if (!(options.typical_p > 0 && options.typical_p <= 1)) {
    return Refuse("typical-p", options.typical_p, "a number in (0, 1], 1 being off");
  }
  return ValidatePenalties(options);
}

}  // namespace photon
