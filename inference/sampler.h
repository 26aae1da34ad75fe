// One token from logits: greedy, or drawn with temperature, top-k and top-p.
//
// The draw for token `index` of a sequence is a function of (seed, index) and the logits alone: not of who else is in
// the batch, nor of how many tokens were drawn before.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"

namespace photon {

struct SamplingOptions {
  double temperature = 0;  // 0: greedy; ties take the lowest id
  int32_t top_k = 0;       // only the k most likely tokens; 0: all. Ties at the border: lowest ids stay
  double top_p = 1;        // of those, after temperature, the fewest whose probabilities reach p
  uint64_t seed = 0;
};

// kInvalidArgument naming the option.
absl::Status ValidateSampling(const SamplingOptions& options);

// The token with the largest logit; of several, the lowest id.
int32_t Greedy(absl::Span<const double> logits);

// `index`: the token's place in its sequence.
int32_t Sample(absl::Span<const double> logits, const SamplingOptions& options, int64_t index);

}  // namespace photon
