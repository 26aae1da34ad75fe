// Log-likelihood of given tokens.
#pragma once

#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "model/language_model.h"

namespace photon {

// Natural-log probabilities of tokens 2..T, each given all before it: T - 1 values, by the training forward. Any
// length, beyond the training length too. Logits exist for a slice of the tokens at a time. kInvalidArgument for no
// tokens and for ids outside the vocabulary.
absl::StatusOr<std::vector<double>> ScoreTokens(const Context& context, const LanguageModel& model,
                                                absl::Span<const int32_t> tokens);

}  // namespace photon
