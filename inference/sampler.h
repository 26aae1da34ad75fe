// One token from a row of logits: greedy, or drawn from what truncation leaves, as core/ops/sample.h defines it.
#pragma once

#include <cstdint>

#include "absl/types/span.h"
#include "core/cpu/sampler.h"
#include "inference/sampling_options.h"

namespace photon {

// A workspace for rows of any sequences; what it returns depends on the arguments alone. Used by one thread; A is float
// or double.
template <typename A>
class Sampler {
 public:
  // `uniform` in [0, 1) decides. Of `options`, which must be valid, penalties and biases are not looked at: they are in
  // the logits already. Never a token of logit minus infinity, unless all are (then 0).
  int32_t Sample(absl::Span<const A> logits, const SamplingOptions& options, double uniform) {
    return sampler_.Sample(logits, Settings(options), uniform);
  }

 private:
  static ops::SamplingSettings Settings(const SamplingOptions& options) {
    return {.temperature = options.temperature,
            .top_k = options.top_k,
            .top_p = options.top_p,
            .min_p = options.min_p,
            .typical_p = options.typical_p};
  }

  cpu::Sampler<A> sampler_;
};

}  // namespace photon
