#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>

#include "core/cpu/kernels.h"
#include "core/cpu/parallel_for.h"
#include "core/cpu/simd.h"
#include "core/cpu/thread_scratch.h"

namespace photon::cpu {
namespace {

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

// One pass over memory: blocks that fit the first-level cache are read for their maximum, then for their sum, which is
// rescaled when the maximum grew. Each lane has a maximum of its own until the end. Sums of blocks are added up apart
// from the sums within them, so that rounding errors grow with the square root of V, in effect. `keep` may be null.
template <typename T, typename A = AccumulateType<T>>
SoftmaxDenominator<A> Denominator(const T* row, int64_t width, Exponentials<A>* keep) {
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

// Returns -log softmax(row)[target]; with a scale, overwrites the row with scale * (softmax(row) - onehot(target)).
template <typename T, typename A = AccumulateType<T>>
A RunRow(T* row, int64_t width, int32_t target, const A* scale, Exponentials<A>& exponentials) {
  constexpr int64_t kBlock = Exponentials<A>::kBlock;
  const auto [max, sum] = Denominator(row, width, scale != nullptr ? &exponentials : nullptr);
  const A nll = max - static_cast<A>(row[target]) + std::log(sum);
  if (scale == nullptr) return nll;
  for (int64_t begin = 0; begin < width; begin += kBlock) {
    const Vec<A> factor = Exp(Load(exponentials.top(begin)) - max) * (*scale / sum);
    const A* kept = exponentials.values + begin;
    ForEachVector<A>(std::min(kBlock, width - begin),
                     [&](int64_t j, auto lanes) { Store(row + begin + j, Load(kept + j, lanes) * factor, lanes); });
  }
  row[target] = T(*scale * std::expm1(-nll));  // p - 1 without cancellation where p is near 1
  return nll;
}

}  // namespace

void CrossEntropyForward(const Context& context, const Tensor& logits, const Tensor& target, const Tensor& scale,
                         const Tensor& nll) {
  VisitFloat(logits.dtype(), [&](auto tag) {
    using T = decltype(tag);
    using A = AccumulateType<T>;
    const int64_t width = logits.dim(1);
    const A* scales = DataOrNull<A>(scale);
    std::optional<ThreadScratch<A>> scratch;  // for gradients alone
    if (scales != nullptr) scratch.emplace(context, Exponentials<A>::Elements(width));
    ParallelFor(logits.dim(0), RowGrain(width), [&](int64_t begin, int64_t end) {
      Exponentials<A> exponentials(scratch.has_value() ? scratch->ThisThread() : nullptr, width);
      for (int64_t i = begin; i < end; ++i) {
        T* row = logits.data<T>() + i * width;
        const int32_t t = target.data<int32_t>()[i];
        PHOTON_CHECK(t >= -1 && t < width)
            << "[cross_entropy] target " << t << " in row " << i << " of logits " << logits.ToString();
        if (t >= 0) {
          nll.data<A>()[i] = RunRow<T>(row, width, t, scales != nullptr ? scales + i : nullptr, exponentials);
        } else {
          nll.data<A>()[i] = 0;
          if (scales != nullptr) std::fill(row, row + width, T(A{0}));
        }
      }
    });
  });
}

}  // namespace photon::cpu
