// The softmax of one row of logits, of any length: its largest element and its denominator, in one pass over memory.
#pragma once

#include <algorithm>
#include <limits>

#include "core/cpu/simd.h"
#include "core/cpu/thread_scratch.h"

namespace photon::cpu {

// sum over j of exp(row[j]) = sum * exp(max).
template <typename A>
struct SoftmaxDenominator {
  A max;
  A sum;
};

// The row's exponentials as they were computed, for the gradient: each block's against its own maxima, one a lane.
template <typename A>
struct Exponentials {
  static constexpr int64_t kBlock = 64 * kLanes<A>;
  // In `memory` of Elements(width); null where none are kept.
  Exponentials(A* memory, int64_t width) : values(memory), padded(PaddedColumns<A>(width)) {}
  static int64_t Elements(int64_t width) { return PaddedColumns<A>(width) + (width + kBlock - 1) / kBlock * kLanes<A>; }
  A* top(int64_t begin) const { return values + padded + begin / kBlock * kLanes<A>; }
  A* values;
  int64_t padded;
};

// Blocks that fit the first-level cache are read for their maximum, then for their sum, which is rescaled when the
// maximum grew. Each lane has a maximum of its own until the end. Sums of blocks are added up apart from the sums
// within them, so that rounding errors grow with the square root of V, in effect. Exponentials stay in `keep`, if
// given.
template <typename T, typename A = AccumulateType<T>>
SoftmaxDenominator<A> Denominator(const T* row, int64_t width, Exponentials<A>* keep = nullptr) {
  constexpr A kLowest = std::numeric_limits<A>::lowest();  // finite: -inf - -inf would be NaN
  constexpr int64_t kBlock = Exponentials<A>::kBlock;
  Vec<A> max = Broadcast(kLowest);
  Vec<A> sum{};
  for (int64_t begin = 0; begin < width; begin += kBlock) {
    const T* block = row + begin;
    const int64_t n = std::min(kBlock, width - begin);
    Vec<A> grown = max;
    ForEachVector<A>(n, [&](int64_t j, auto lanes) { grown = Maximum(grown, Load(block + j, lanes, kLowest)); });
    Vec<A> block_sum{};
    ForEachVector<A>(n, [&](int64_t j, auto lanes) {
      const Vec<A> e = Exp(Load(block + j, lanes, -std::numeric_limits<A>::infinity()) - grown);
      if (keep != nullptr) Store(keep->values + begin + j, e, lanes);
      block_sum += e;
    });
    if (keep != nullptr) Store(keep->top(begin), grown);
    sum = sum * Exp(max - grown) + block_sum;
    max = grown;
  }
  const A row_max = Max<A>(max);
  return {row_max, Sum<A>(sum * Exp(max - row_max))};
}

}  // namespace photon::cpu
