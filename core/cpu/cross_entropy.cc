#include <algorithm>
#include <cmath>
#include <optional>

#include "core/cpu/kernels.h"
#include "core/cpu/parallel_for.h"
#include "core/cpu/softmax_row.h"

namespace photon::cpu {
namespace {

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
