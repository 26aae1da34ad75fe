#include "inference/token_score.h"

#include <algorithm>
#include <cmath>

namespace photon {

template <typename A>
void TokenScorer<A>::Read(absl::Span<const A> logits) {
  logits_ = logits;
  maxima_.Read(logits);
  const A largest = maxima_.largest();
  double sum = 0;
  for (const A logit : logits) sum += std::exp(logit - largest);
  log_sum_ = static_cast<double>(largest) + std::log(sum);
}

template <typename A>
std::vector<RankedToken> TokenScorer<A>::MostLikely(int64_t count) {
  count = std::min<int64_t>(count, logits_.size());
  if (count <= 0) return {};
  std::vector<RankedToken> ranked;
  const A least = maxima_.ReachedBy(count);
  maxima_.ForEachBlock(least, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const auto token = static_cast<int32_t>(i);
      if (logits_[i] >= least) ranked.push_back({token, LogProbability(token)});
    }
  });
  const auto before = [](const RankedToken& a, const RankedToken& b) {
    return a.log_probability != b.log_probability ? a.log_probability > b.log_probability : a.token < b.token;
  };
  count = std::min<int64_t>(count, ranked.size());
  std::partial_sort(ranked.begin(), ranked.begin() + count, ranked.end(), before);
  ranked.resize(count);
  return ranked;
}

template class TokenScorer<float>;
template class TokenScorer<double>;

}  // namespace photon
