// A block of keys and values for few rows, straight from where they lie: unpacking and transposing them in memory
// first, as for many rows, would take several times as long as the arithmetic.
//
// The chains of multiply-adds are those of Multiply (core/cpu/attention_tile.h): the results are its bits.
#pragma once

#include <algorithm>

#include "core/cpu/attention_rows.h"
#include "core/cpu/attention_tile.h"

namespace photon::cpu {

inline constexpr int kFewRows = 2;
inline constexpr int64_t kFewRowsColumns = 256;

// Whether rows of so many columns can be taken: a last vector that is not full overlaps the one before it.
template <typename A>
bool TakesFewRows(int rows, int64_t columns) {
  return rows <= kFewRows && columns >= kLanes<A> && columns <= kFewRowsColumns;
}

// scores [kRows, whole vectors of `count`] = q [kRows, columns] times `count` keys, transposed.
template <typename T, int kRows>
void ScoreKeys(Panel<const AccumulateType<T>> q, HeadRows<const T> keys, int64_t count, int64_t columns,
               Panel<AccumulateType<T>> scores) {
  using A = AccumulateType<T>;
  constexpr int n = kLanes<A>;
  constexpr int kPerLane = sizeof(A) / sizeof(T);  // bf16: pairs are transposed, then parted, which halves the shuffles
  // The last columns, as many as a step takes. Those that the step before has, too, count nothing.
  const int64_t step = columns < kPerLane * n ? n : kPerLane * n;
  const int64_t whole = columns / step * step, rest = columns - whole, last = rest > n ? step : n;
  alignas(64) A tail[kRows][kPerLane * n] = {};
  for (int r = 0; r < kRows; ++r) {
    std::copy(q.data + r * q.stride + whole, q.data + r * q.stride + columns, tail[r] + last - rest);
  }
  for (int64_t key = 0; key < count; key += n) {
    Vec<A> sum[kRows] = {};
    const auto add_column = [&](Vec<A> x, const auto& left, int column) {
#pragma GCC unroll 2
      for (int r = 0; r < kRows; ++r) sum[r] += Broadcast(left(r)[column]) * x;
    };
    const auto add = [&](auto pairs, int64_t column, const auto& left) {
      Vec<A> x[n];
#pragma GCC unroll 16
      for (int i = 0; i < n; ++i) {
        const T* row = keys.data + (key + i) * keys.stride + column;
        if constexpr (pairs()) {
          x[i] = key + i < count ? LoadBits(row) : Vec<A>{};
        } else {
          x[i] = key + i < count ? Load(row) : Vec<A>{};
        }
      }
      TransposeSquare<A>(x);
#pragma GCC unroll 16
      for (int i = 0; i < n; ++i) {
        if constexpr (pairs()) {
          add_column(EvenElements(x[i]), left, 2 * i);
          add_column(OddElements(x[i]), left, 2 * i + 1);
        } else {
          add_column(x[i], left, i);
        }
      }
    };
    const auto add_step = [&](int64_t columns_of_step, int64_t c, const auto& left) {
      columns_of_step > n ? add(std::bool_constant<kPerLane == 2>(), c, left) : add(std::false_type(), c, left);
    };
    for (int64_t c = 0; c < whole; c += step) {
      add_step(step, c, [&](int r) { return q.data + r * q.stride + c; });
    }
    if (rest > 0) add_step(last, columns - last, [&](int r) -> const A* { return tail[r]; });
    for (int r = 0; r < kRows; ++r) Store(scores.data + r * scores.stride + key, sum[r]);
  }
}

// out [kRows, columns] += weights [kRows, count] values. With kSkipZeros as Tile has it.
template <typename T, int kRows, bool kSkipZeros>
void AddValues(Panel<const AccumulateType<T>> weights, HeadRows<const T> values, int64_t count, int64_t columns,
               Panel<AccumulateType<T>> out) {
  using A = AccumulateType<T>;
  constexpr int n = kLanes<A>;
  const auto add = [&](const auto vectors, const auto& column) {
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
