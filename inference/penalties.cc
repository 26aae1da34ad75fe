#include "inference/penalties.h"

#include <algorithm>
#include <limits>

namespace photon {
namespace {

template <typename A>
A Penalized(const SamplingOptions& options, A logit, int64_t generated) {
  double value = logit;
  value = value > 0 ? value / options.repetition_penalty : value * options.repetition_penalty;
  value -= options.frequency_penalty * static_cast<double>(generated);
  if (generated > 0) value -= options.presence_penalty;
  return static_cast<A>(value);
}

// Whether a bad word may stand there but for its last token.
bool MayStand(absl::Span<const int32_t> beginning, absl::Span<const int32_t> generated, int64_t ahead,
              absl::Span<const int32_t> chunk) {
  const auto size = static_cast<int64_t>(beginning.size()), in_chunk = static_cast<int64_t>(chunk.size());
  for (int64_t back = 1; back <= size; ++back) {
    const int32_t wanted = beginning[size - back];
    if (back <= in_chunk) {
      if (chunk[in_chunk - back] != wanted) return false;
    } else if (back > ahead) {
      const int64_t at = static_cast<int64_t>(generated.size()) - (back - ahead);
      if (at < 0 || generated[at] != wanted) return false;
    }
  }
  return true;
}

template <typename A>
A* LogitOf(absl::Span<A> logits, int32_t token) {
  return token >= 0 && token < static_cast<int64_t>(logits.size()) ? &logits[token] : nullptr;
}

}  // namespace

bool HasPenalties(const SamplingOptions& options) {
  return options.repetition_penalty != 1 || options.presence_penalty != 0 || options.frequency_penalty != 0;
}

bool MovesLogits(const SamplingOptions& options) {
  return HasPenalties(options) || !options.logit_bias.empty() || !options.allowed_tokens.empty() ||
         !options.bad_words.empty();
}

template <typename A>
void CopyAllowed(const SamplingOptions& options, absl::Span<const A> logits, std::vector<A>* row) {
  if (options.allowed_tokens.empty()) {
    row->assign(logits.begin(), logits.end());
    return;
  }
  row->assign(logits.size(), -std::numeric_limits<A>::infinity());
  for (const int32_t token : options.allowed_tokens) {
    if (A* logit = LogitOf(absl::MakeSpan(*row), token)) *logit = logits[token];
  }
}

template <typename A>
void ApplyPenalties(const SamplingOptions& options, const TokenHistory& history, absl::Span<const int32_t> chunk,
                    absl::Span<A> logits) {
  if (!HasPenalties(options)) return;
  const auto in_chunk = [&](int32_t token) { return std::find(chunk.begin(), chunk.end(), token) != chunk.end(); };
  for (const TokenHistory::Entry& entry : history.entries()) {
    A* logit = LogitOf(logits, entry.token);
    if (logit != nullptr && !in_chunk(entry.token)) *logit = Penalized(options, *logit, entry.generated);
  }
  for (size_t i = 0; i < chunk.size(); ++i) {
    A* logit = LogitOf(logits, chunk[i]);
    if (logit == nullptr || std::find(chunk.begin(), chunk.begin() + i, chunk[i]) != chunk.begin() + i) continue;
    const int64_t here = std::count(chunk.begin(), chunk.end(), chunk[i]);
    *logit = Penalized(options, *logit, history.generated(chunk[i]) + here);
  }
}

template <typename A>
void ApplyBiases(const SamplingOptions& options, absl::Span<A> logits) {
  for (const LogitBias& bias : options.logit_bias) {
    if (A* logit = LogitOf(logits, bias.token)) *logit = static_cast<A>(*logit + bias.bias);
  }
}

template <typename A>
void HoldBack(absl::Span<const int32_t> tokens, absl::Span<A> logits) {
  for (const int32_t token : tokens) {
    if (A* logit = LogitOf(logits, token)) *logit = -std::numeric_limits<A>::infinity();
  }
}

template <typename A>
void BanBadWords(const SamplingOptions& options, absl::Span<const int32_t> generated, int64_t ahead,
                 absl::Span<const int32_t> chunk, absl::Span<A> logits) {
  for (const std::vector<int32_t>& word : options.bad_words) {
    const auto beginning = absl::MakeConstSpan(word).first(word.size() - 1);
    if (MayStand(beginning, generated, ahead, chunk)) HoldBack<A>({&word.back(), 1}, logits);
  }
}

template void CopyAllowed(const SamplingOptions&, absl::Span<const float>, std::vector<float>*);
template void CopyAllowed(const SamplingOptions&, absl::Span<const double>, std::vector<double>*);
template void ApplyPenalties(const SamplingOptions&, const TokenHistory&, absl::Span<const int32_t>, absl::Span<float>);
template void ApplyPenalties(const SamplingOptions&, const TokenHistory&, absl::Span<const int32_t>,
                             absl::Span<double>);
template void ApplyBiases(const SamplingOptions&, absl::Span<float>);
template void ApplyBiases(const SamplingOptions&, absl::Span<double>);
template void HoldBack(absl::Span<const int32_t>, absl::Span<float>);
template void HoldBack(absl::Span<const int32_t>, absl::Span<double>);
template void BanBadWords(const SamplingOptions&, absl::Span<const int32_t>, int64_t, absl::Span<const int32_t>,
                          absl::Span<float>);
template void BanBadWords(const SamplingOptions&, absl::Span<const int32_t>, int64_t, absl::Span<const int32_t>,
                          absl::Span<double>);

}  // namespace photon
