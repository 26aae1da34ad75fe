// The largest of many logits without sorting them: the maximum of every block of 64 is taken in one pass, and from then
// on only blocks that can hold a wanted value are read.
//
// Keeps its memory from row to row. Used by one thread; A is float or double.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "absl/types/span.h"

namespace photon::cpu {

template <typename A>
class BlockMaxima {
 public:
  static constexpr int64_t kBlock = 64;

  // Reads `values` (at least one). They must stay as they are while the other functions are used.
  void Read(absl::Span<const A> values);

  A largest() const { return largest_; }
  int32_t first_largest() const;  // of equals the lowest index
  int64_t blocks() const { return static_cast<int64_t>(maxima_.size()); }
  // A value that at least k values reach: the k-th largest maximum of a block, as each of k blocks holds one. Minus
  // infinity where there are fewer blocks. k >= 1.
  A ReachedBy(int64_t k);
  // f(begin, end) for every block that holds a value of at least `least`, in order.
  template <typename F>
  void ForEachBlock(A least, F&& f) const {
    for (size_t b = 0; b < maxima_.size(); ++b) {
      if (!(maxima_[b] >= least)) continue;
      const int64_t begin = static_cast<int64_t>(b) * kBlock;
      f(begin, std::min<int64_t>(begin + kBlock, values_.size()));
    }
  }

 private:
  absl::Span<const A> values_;
  std::vector<A> maxima_, scratch_;
  A largest_ = 0;
};

extern template class BlockMaxima<float>;
extern template class BlockMaxima<double>;

}  // namespace photon::cpu
