// Cross-entropy of a split vocabulary. Bytes: the statistics read the logits once; the gradient reads and writes them
// once more.
#include <algorithm>
#include <cmath>
#include <limits>

#include "core/cpu/kernels.h"
#include "core/cpu/parallel_for.h"
#include "core/cpu/softmax_row.h"

namespace photon::cpu {
namespace {

// Of one row, as gathered.
template <typename A>
struct Statistics {
  A largest, sum, chosen;
};

// All parts as one, in their order: the same bits on every rank.
template <typename A>
Statistics<A> Combined(const Statistics<A>* parts, int64_t count, int64_t rows, int64_t row) {
  Statistics<A> all = {std::numeric_limits<A>::lowest(), 0, 0};
  for (int64_t p = 0; p < count; ++p) all.largest = std::max(all.largest, parts[p * rows + row].largest);
  for (int64_t p = 0; p < count; ++p) {
    const Statistics<A>& part = parts[p * rows + row];
    all.sum += part.sum * std::exp(part.largest - all.largest);
    all.chosen += part.chosen;
  }
  return all;
}

void CheckTarget(const char* operation, int32_t target, int64_t row, const Tensor& logits) {
  PHOTON_CHECK(target >= -1 && target < logits.dim(1))
      << "[" << operation << "] target " << target << " in row " << row << " of logits " << logits.ToString();
}

}  // namespace

void VocabularyStatistics(const Context&, const Tensor& logits, const Tensor& target, const Tensor& stats) {
  VisitFloat(logits.dtype(), [&](auto tag) {
    using T = decltype(tag);
    using A = AccumulateType<T>;
    const int64_t width = logits.dim(1);
    auto* const to = reinterpret_cast<Statistics<A>*>(stats.data<A>());
    ParallelFor(logits.dim(0), RowGrain(width), [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const T* row = logits.data<T>() + i * width;
        const int32_t t = target.data<int32_t>()[i];
        CheckTarget("vocabulary_statistics", t, i, logits);
        const auto [largest, sum] = Denominator(row, width);
        to[i] = {largest, sum, t >= 0 ? static_cast<A>(row[t]) : A(0)};
      }
    });
  });
}

void SplitCrossEntropy(const Context&, const Tensor& logits, const Tensor& target, const Tensor& scored,
                       const Tensor& stats, const Tensor& scale, const Tensor& nll) {
  VisitFloat(logits.dtype(), [&](auto tag) {
    using T = decltype(tag);
    using A = AccumulateType<T>;
    const int64_t rows = logits.dim(0), width = logits.dim(1);
    const auto* const parts = reinterpret_cast<const Statistics<A>*>(stats.data<A>());
    const A* scales = DataOrNull<A>(scale);
    ParallelFor(rows, RowGrain(scales != nullptr ? width : 1), [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        T* row = logits.data<T>() + i * width;
        const int32_t t = target.data<int32_t>()[i];
        CheckTarget("split_cross_entropy", t, i, logits);
        if (scored.data<int32_t>()[i] == -1) {
          nll.data<A>()[i] = 0;
          if (scales != nullptr) std::fill(row, row + width, T(A{0}));
          continue;
        }
        const Statistics<A> all = Combined(parts, stats.dim(0), rows, i);
        const A loss = all.largest - all.chosen + std::log(all.sum);
        nll.data<A>()[i] = loss;
        if (scales == nullptr) continue;
        const A factor = scales[i] / all.sum;
        ForEachVector<A>(width, [&](int64_t j, auto lanes) {
          Store(row + j, Exp(Load(row + j, lanes) - all.largest) * factor, lanes);
        });
        if (t >= 0) row[t] = T(scales[i] * std::expm1(-loss));  // as in core/cpu/cross_entropy.cc
      }
    });
  });
}

}  // namespace photon::cpu
