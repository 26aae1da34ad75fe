#include "core/cpu/block_maxima.h"

#include <algorithm>
#include <functional>
#include <limits>

#include "core/cpu/simd.h"

namespace photon::cpu {

template <typename A>
void BlockMaxima<A>::Read(absl::Span<const A> values) {
  constexpr A kNone = -std::numeric_limits<A>::infinity();
  values_ = values;
  const int64_t n = static_cast<int64_t>(values.size());
  maxima_.resize((n + kBlock - 1) / kBlock);
  largest_ = kNone;
  for (size_t b = 0; b < maxima_.size(); ++b) {
    const int64_t begin = static_cast<int64_t>(b) * kBlock;
    Vec<A> max = Broadcast(kNone);
    ForEachVector<A>(std::min(kBlock, n - begin),
                     [&](int64_t i, auto lanes) { max = Maximum(max, Load(values.data() + begin + i, lanes, kNone)); });
    maxima_[b] = Max<A>(max);
    largest_ = std::max(largest_, maxima_[b]);
  }
}

template <typename A>
int32_t BlockMaxima<A>::first_largest() const {
  const size_t block = std::find(maxima_.begin(), maxima_.end(), largest_) - maxima_.begin();
  const auto begin = values_.begin() + std::min<size_t>(block * kBlock, values_.size());
  const auto found = std::find(begin, values_.end(), largest_);
  return found == values_.end() ? 0 : static_cast<int32_t>(found - values_.begin());  // no number among them: the first
}

template <typename A>
A BlockMaxima<A>::ReachedBy(int64_t k) {
  if (k > blocks()) return -std::numeric_limits<A>::infinity();
  scratch_ = maxima_;
  std::nth_element(scratch_.begin(), scratch_.begin() + (k - 1), scratch_.end(), std::greater<A>());
  return scratch_[k - 1];
}

template class BlockMaxima<float>;
template class BlockMaxima<double>;

}  // namespace photon::cpu
