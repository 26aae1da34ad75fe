// What moves logits before a token is chosen, in this order:
//   allowed     minus infinity for all others (vLLM: allowed_token_ids)
//   bias        logit += bias of the token (OpenAI, vLLM)
//   repetition  tokens in the prompt or generated: logit / r where it is positive, logit * r where not (Keskar et al.
//               2019; Hugging Face, vLLM)
//   frequency   logit -= f * times generated        (OpenAI; as in vLLM the prompt does not count)
//   presence    logit -= a where generated at all   (the same)
//   held back   logit := minus infinity for tokens that must not come yet (Hugging Face: min_new_tokens)
//   bad words   the same for what would complete one (vLLM: bad_words)
// Pure functions of their arguments: nobody else's tokens matter.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "inference/sampling_options.h"
#include "inference/token_history.h"

namespace photon {

// True where ApplyPenalties would change anything.
bool HasPenalties(const SamplingOptions& options);
// True where anything below would, but for HoldBack.
bool MovesLogits(const SamplingOptions& options);

// The logits, without those of tokens that are not allowed.
template <typename A>
void CopyAllowed(const SamplingOptions& options, absl::Span<const A> logits, std::vector<A>* row);

// `chunk`: tokens generated after those of the history, which count too: the chunk's own where chunks are chosen side
// by side. A is float or double; tokens outside the logits are passed over.
template <typename A>
void ApplyPenalties(const SamplingOptions& options, const TokenHistory& history, absl::Span<const int32_t> chunk,
                    absl::Span<A> logits);

template <typename A>
void ApplyBiases(const SamplingOptions& options, absl::Span<A> logits);

// Tokens that must not come yet.
template <typename A>
void HoldBack(absl::Span<const int32_t> tokens, absl::Span<A> logits);

// Of the token that is `ahead` places after `generated`; the last of these places hold `chunk`, the others are chosen
// at the same time and may hold anything: what they would have to be for a bad word, they are taken to be.
template <typename A>
void BanBadWords(const SamplingOptions& options, absl::Span<const int32_t> generated, int64_t ahead,
                 absl::Span<const int32_t> chunk, absl::Span<A> logits);

}  // namespace photon
