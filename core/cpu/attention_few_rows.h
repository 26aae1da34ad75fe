// Scores and weighted values of few rows, straight from where a cache has its keys and values: to unpack them first, as
// for many rows, would take longer than the arithmetic.
//
// The chains of multiply-adds are those of Multiply (core/cpu/attention_tile.h): the results are its bits.
#pragma once

#include <algorithm>

#include "core/cpu/attention_rows.h"
#include "core/cpu/attention_tile.h"
#include "core/cpu/cache_blocks.h"

namespace photon::cpu {

inline constexpr int kFewRows = 2;

// Whether rows of so many columns can be taken: a last vector that is not full overlaps the one before it.
template <typename A>
bool TakesFewRows(int rows, int64_t columns) {
  return rows <= kFewRows && columns >= kLanes<A>;
}

// scores [kRows, whole vectors] = q [kRows, columns] times a head's keys of a block: the first `count` of its m.
template <typename T, int kRows>
void ScoreKeys(Panel<const AccumulateType<T>> q, const T* keys, int64_t m, int64_t count, int64_t columns,
               Panel<AccumulateType<T>> scores) {
  using A = AccumulateType<T>;
  constexpr int64_t n = kLanes<A>, kPack = CacheBlocks<T>::kPack;
  // Several vectors at once: one chain of sums alone would wait for each of them.
  const auto score = [&](auto vectors, int64_t first, auto lanes) {
    constexpr int kVectors = vectors();
    Vec<A> sum[kVectors][kRows] = {};
    for (int64_t c = 0; c < columns; c += kPack) {
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) {
        const T* at = keys + c * m + (first + v * n) * kPack;
        ForEachColumn(at, m, kPack, lanes, [&](int64_t column, Vec<A> x) {
#pragma GCC unroll 2
          for (int r = 0; r < kRows; ++r) sum[v][r] += Broadcast(q.data[r * q.stride + c + column]) * x;
        });
      }
    }
    for (int v = 0; v < kVectors; ++v) {
      for (int r = 0; r < kRows; ++r) Store(scores.data + r * scores.stride + first + v * n, sum[v][r]);
    }
  };
  using One = std::integral_constant<int, 1>;
  constexpr int kTogether = 4;
  int64_t i = 0;
  for (; i + (kTogether - 1) * n < count && i + kTogether * n <= m; i += kTogether * n) {
    score(std::integral_constant<int, kTogether>(), i, AllLanes{});
  }
  for (; i < count && i + n <= m; i += n) score(One(), i, AllLanes{});
  if (i < count) score(One(), i, FirstLanes{m - i});
}

// out [kRows, columns] += weights [kRows, count] values. With kSkipZeros as Tile has it.
template <typename T, int kRows, bool kSkipZeros>
void AddValues(Panel<const AccumulateType<T>> weights, HeadRows<const T> values, int64_t count, int64_t columns,
               Panel<AccumulateType<T>> out) {
  using A = AccumulateType<T>;
  constexpr int n = kLanes<A>;
  const auto add = [&](auto count_of_vectors, const auto& column) {
    constexpr int vectors = count_of_vectors();
    Vec<A> sum[kRows][vectors];
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
      for (int v = 0; v < vectors; ++v) sum[r][v] = Load(out.data + r * out.stride + column(v));
    }
    for (int64_t key = 0; key < count; ++key) {
      const T* value = values.data + key * values.stride;
#pragma GCC unroll 2
      for (int r = 0; r < kRows; ++r) {
        const Vec<A> weight = Broadcast(weights.data[r * weights.stride + key]);
#pragma GCC unroll 4
        for (int v = 0; v < vectors; ++v) {
          const Vec<A> more = sum[r][v] + weight * Load(value + column(v));
          sum[r][v] = !kSkipZeros || weight[0] != 0 ? more : sum[r][v];
        }
      }
    }
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
      for (int v = 0; v < vectors; ++v) Store(out.data + r * out.stride + column(v), sum[r][v]);
    }
  };
  // The first of a pass begins before what an earlier pass wrote is looked at: overlapping columns go in one pass.
  int64_t c = 0;
  for (; c + 8 * n <= columns; c += 4 * n) add(std::integral_constant<int, 4>(), [c](int v) { return c + v * n; });
  const auto last = [&](int v) { return std::min(c + v * n, columns - n); };
  switch ((columns - c + n - 1) / n) {
    case 1:
      return add(std::integral_constant<int, 1>(), last);
    case 2:
      return add(std::integral_constant<int, 2>(), last);
    case 3:
      return add(std::integral_constant<int, 3>(), last);
    case 4:
      return add(std::integral_constant<int, 4>(), last);
    case 5:
      return add(std::integral_constant<int, 5>(), last);
    case 6:
      return add(std::integral_constant<int, 6>(), last);
    case 7:
      return add(std::integral_constant<int, 7>(), last);
    default:
      return add(std::integral_constant<int, 8>(), last);
  }
}

}  // namespace photon::cpu
