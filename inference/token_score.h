// Log-probabilities of tokens under the model itself: natural logarithms of the softmax of its logits, before
// penalties, temperature or anything else that sampling does to them (vLLM's raw_logprobs). So they equal what scoring
// the same tokens gives, and compare across sampling settings.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "core/cpu/block_maxima.h"

namespace photon {

struct RankedToken {
  int32_t token;
  double log_probability;
};

// A workspace: what it returns depends on the arguments alone. Used by one thread; A is float or double.
template <typename A>
class TokenScorer {
 public:
  // Reads a row, which must stay as it is while the other functions are used.
  void Read(absl::Span<const A> logits);
  double LogProbability(int32_t token) const { return static_cast<double>(logits_[token]) - log_sum_; }
  // The `count` most likely tokens (or all, if fewer), the most likely first, of equals the lowest id.
  std::vector<RankedToken> MostLikely(int64_t count);

 private:
  absl::Span<const A> logits_;
  cpu::BlockMaxima<A> maxima_;
  double log_sum_ = 0;
};

extern template class TokenScorer<float>;
extern template class TokenScorer<double>;

}  // namespace photon
