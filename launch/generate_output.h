// How `photon generate` prints what it generated.
#pragma once

#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "data/tokenizer.h"
#include "inference/generate.h"
#include "launch/selection_flags.h"

namespace photon {

// The object of --output json, but for how long it took; docs/generation.md has its fields. `tokenizer` may be null: no
// texts.
nlohmann::ordered_json GenerationJson(absl::Span<const Continuation> continuations, int64_t prompt_tokens,
                                      const GenerateOptions& options, const Selection& selection,
                                      const Tokenizer* tokenizer);

// "12 tokens and end-of-text; prompt of 3 in .. s, then .. tokens/s; state .. bytes, windows .." for people.
std::string Summary(const GenerateResult& result, int64_t prompt_tokens);

}  // namespace photon
