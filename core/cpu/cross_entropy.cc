#include <algorithm>
#include <cmath>
#include <limits>

#include "core/cpu/kernels.h"
#include "core/cpu/parallel_for.h"
#include "core/cpu/simd.h"

namespace photon::cpu {
namespace {

// sum over j of exp(row[j]) = sum * exp(max).
template <typename A>
struct SoftmaxDenominator {
  A max;
  A sum;
};

// One pass over memory: blocks that fit the first-level cache are read for their maximum, then for their sum, which is
// rescaled when the maximum grew. Each lane has a maximum of its own until the end. Sums of blocks are added up apart
// from the sums within them, so that rounding errors grow with the square root of V, in effect.
template <typename T, typename A = AccumulateType<T>>
SoftmaxDenominator<A> Denominator(const T* row, int64_t width) {
  constexpr A kLowest = std::numeric_limits<A>::lowest();  // finite: -inf - -inf would be NaN
  constexpr int64_t kBlock = 64 * kLanes<A>;
  Vec<A> max = Broadcast(kLowest);
  Vec<A> sum{};
  for (int64_t begin = 0; begin < width; begin += kBlock) {
    const T* block = row + begin;
    const int64_t n = std::min(kBlock, width - begin);
    Vec<A> grown = max;
    ForEachVector<A>(n, [&](int64_t j, auto lanes) { grown = Maximum(grown, Load(block + j, lanes, kLowest)); });
    Vec<A> block_sum{};
    ForEachVector<A>(n, [&](int64_t j, auto lanes) {
      block_sum += Exp(Load(block + j, lanes, -std::numeric_limits<A>::infinity()) - grown);
    });
    sum = sum * Exp(max - grown) + block_sum;
    max = grown;
  }
  const A row_max = Max<A>(max);
  return {row_max, Sum<A>(sum * Exp(max - row_max))};
}

// Returns -log softmax(row)[target]; with a scale, overwrites the row with scale * (softmax(row) - onehot(target)).
template <typename T, typename A = AccumulateType<T>>
A RunRow(T* row, int64_t width, int32_t target, const A* scale) {
  const auto [max, sum] = Denominator(row, width);
  const A nll = max - static_cast<A>(row[target]) + std::log(sum);
  if (scale == nullptr) return nll;
  const A factor = *scale / sum;
  ForEachVector<A>(width, [&, max = max](int64_t j, auto lanes) {
    Store(row + j, Exp(Load(row + j, lanes) - max) * factor, lanes);
  });
  row[target] = T(*scale * std::expm1(-nll));  // p - 1 without cancellation where p is near 1
  return nll;
}

}  // namespace

void CrossEntropyForward(const Context&, const Tensor& logits, const Tensor& target, const Tensor& scale,
                         const Tensor& nll) {
  VisitFloat(logits.dtype(), [&](auto tag) {
    using T = decltype(tag);
    using A = AccumulateType<T>;
    const int64_t width = logits.dim(1);
    const A* scales = DataOrNull<A>(scale);
    ParallelFor(logits.dim(0), RowGrain(width), [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        T* row = logits.data<T>() + i * width;
        const int32_t t = target.data<int32_t>()[i];
        PHOTON_CHECK(t >= -1 && t < width)
            << "[cross_entropy] target " << t << " in row " << i << " of logits " << logits.ToString();
        if (t >= 0) {
          nll.data<A>()[i] = RunRow<T>(row, width, t, scales != nullptr ? scales + i : nullptr);
        } else {
          nll.data<A>()[i] = 0;
          if (scales != nullptr) std::fill(row, row + width, T(A{0}));
        }
      }
    });
  });
}

}  // namespace photon::cpu
