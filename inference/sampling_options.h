// How tokens are chosen: one sequence's settings, plain data.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/status.h"

namespace photon {

struct LogitBias {
  int32_t token = 0;
  double bias = 0;  // added to the token's logit; minus infinity bans it
};

// The defaults are greedy decoding with everything off. Definitions, and whose they are: inference/sampler.h for what
// cuts tokens off, inference/penalties.h for what moves their logits.
struct SamplingOptions {
  double temperature = 0;  // 0: greedy; ties take the lowest id
  int32_t top_k = 0;       // 0: off
  double top_p = 1;        // 1: off
  double min_p = 0;        // 0: off
  double typical_p = 1;    // 1: off
  double repetition_penalty = 1;
  double presence_penalty = 0;
  double frequency_penalty = 0;
  std::vector<LogitBias> logit_bias = {};
  std::vector<int32_t> allowed_tokens = {};  // no others are chosen; empty: all
  // Sequences that are not generated: where all but the last token of one stand, the last is not chosen. BadWordTokens
  // (inference/bad_words.h) makes them of words.
  std::vector<std::vector<int32_t>> bad_words = {};
  uint64_t seed = 0;
};

// kInvalidArgument naming the option and what it may be.
absl::Status ValidateSampling(const SamplingOptions& options);

}  // namespace photon
