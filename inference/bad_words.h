// Words that must not be generated, as the sequences of tokens that they are (vLLM's bad_words).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "data/tokenizer.h"

namespace photon {

// Each word as the tokenizer writes it at the beginning of a text, inside one, and after a space; leading spaces of the
// word itself don't count. Other sequences of tokens may have the same text. kInvalidArgument for a word of nothing but
// spaces, and where `tokenizer` is null and there are words.
absl::StatusOr<std::vector<std::vector<int32_t>>> BadWordTokens(const Tokenizer* tokenizer,
                                                                absl::Span<const std::string> words);

}  // namespace photon
