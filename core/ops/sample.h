// Tokens chosen from rows of logits: greedy, or drawn from what truncation leaves.
//
// With w_i = exp((logit_i - largest) / temperature), these steps follow each other, each on what the one before left:
//   min-p      w_i >= min_p (vLLM, Hugging Face, llama.cpp: a token at least min_p as likely as the most likely one)
//   top-k      the k largest logits; at the border the lowest ids stay
//   typical-p  the fewest tokens, those of smallest | -log p_i - H | first, whose probabilities reach p; H is the
//              entropy of what is left (Meister et al. 2022; Hugging Face)
//   top-p      the fewest tokens, the most likely first, whose probabilities reach p (Holtzman et al. 2020; as in vLLM
//              and Hugging Face the token that reaches p stays)
// The order is vLLM's (temperature before all cuts, min-p before top-k and top-p), with typical-p before top-p as in
// llama.cpp. Then one token is drawn in proportion to w, by inversion over rising ids.
//
#pragma once

#include <cstdint>

#include "core/context.h"

namespace photon::ops {

// How one row's token is chosen. The defaults are greedy decoding with everything off.
struct SamplingSettings {
  double temperature = 0;  // 0: greedy; ties take the lowest id
  int32_t top_k = 0;       // 0: off
  double top_p = 1;        // 1: off
  double min_p = 0;        // 0: off
  double typical_p = 1;    // 1: off
};

// The same for N rows, on the device, so that recorded operations find what changes from step to step.
struct SampleParameters {
  Tensor settings;  // f64 [N, 4]: temperature, top_p, min_p, typical_p
  Tensor top_k;     // i32 [N]
  Tensor streams;   // i64 [N, 2]: seed and stream of the generator (core/random.h)
  Tensor index;     // i64 [N]: which of its numbers decides
};

// ids[i] = the token chosen from logits[i], by Philox(seed, stream).Uniform(index). log_probabilities[i] = its
// logarithm of softmax(logits[i]), without temperature or cuts.
//   logits [N, V] f32 or bf16, contiguous, 1 <= V <= 2^19; ids i32 [N]; log_probabilities f32 [N] or undefined.
// Never a token of logit minus infinity, unless all are (then 0). A NaN counts as minus infinity; the log-probability
// is NaN then. The same on every device, except where rounding decides: a GPU adds up weights in units of 2^-44.
using SampleRowsFn = void(const Context& context, const Tensor& logits, const SampleParameters& parameters,
                          const Tensor& ids, const Tensor& log_probabilities);
SampleRowsFn SampleRows;

}  // namespace photon::ops
