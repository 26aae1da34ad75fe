// The matrix products inside attention: small, of rows that lie in cache, in f32 (f64).
//
// Every element of a product is one chain of multiply-adds in the order of k, whatever tile it falls into. So a row's
// result does not depend on the rows beside it, not by a bit.
#pragma once

#include <algorithm>
#include <utility>

#include "core/cpu/simd.h"

namespace photon::cpu {

// One step of a butterfly transposition: a keeps its lanes l with (l & kStep) == 0 and takes b's into the others.
template <int kStep, typename A, int... kLane>
inline void Exchange(Vec<A>& a, Vec<A>& b, std::integer_sequence<int, kLane...>) {
  constexpr int n = kLanes<A>;
  const Vec<A> low = __builtin_shufflevector(a, b, (kLane & kStep ? n + kLane - kStep : kLane)...);
  b = __builtin_shufflevector(a, b, (kLane & kStep ? n + kLane : kLane + kStep)...);
  a = low;
}

// Lane l of the result is the sum of all lanes of x[l]; x [kLanes] is destroyed.
template <typename A, int kStep = kLanes<A> / 2>
inline Vec<A> SumEach(Vec<A>* x) {
#pragma GCC unroll 8
  for (int i = 0; i < kStep; ++i) {
    Exchange<kStep, A>(x[i], x[i + kStep], std::make_integer_sequence<int, kLanes<A>>());
    x[i] += x[i + kStep];
  }
  if constexpr (kStep > 1) return SumEach<A, kStep / 2>(x);
  return x[0];
}

// Transposes the square x [kLanes][kLanes].
template <typename A, int kStep = kLanes<A> / 2>
inline void TransposeSquare(Vec<A>* x) {
#pragma GCC unroll 16
  for (int i = 0; i < kLanes<A>; ++i) {
    if ((i & kStep) == 0) Exchange<kStep, A>(x[i], x[i + kStep], std::make_integer_sequence<int, kLanes<A>>());
  }
  if constexpr (kStep > 1) TransposeSquare<A, kStep / 2>(x);
}

// The left factor: element (m, k) is data[m * row + k * step], so a transposed one is the same with both swapped.
template <typename A>
struct LeftFactor {
  const A* data;
  int64_t row;
  int64_t step;
};
// Rows of whole vectors, `stride` elements apart.
template <typename A>
struct Panel {
  A* data;
  int64_t stride;
};

// c [kRows, kVectors vectors] = (or +=) a [kRows, depth] b [depth, ..]. With kSkipZeros a zero in `a` adds nothing,
// even where b is NaN: masked weights are zeros, and what they mask may be garbage.
template <int kRows, int kVectors, bool kSkipZeros, typename A>
inline void Tile(LeftFactor<A> a, const A* b, int64_t b_stride, int64_t depth, Panel<A> c, bool add) {
  Vec<A> sum[kRows][kVectors];
#pragma GCC unroll 8
  for (int m = 0; m < kRows; ++m) {
#pragma GCC unroll 8
    for (int n = 0; n < kVectors; ++n) {
      sum[m][n] = add ? Load(c.data + m * c.stride + n * kLanes<A>) : Vec<A>{};
    }
  }
  for (int64_t k = 0; k < depth; ++k) {
    Vec<A> right[kVectors];
#pragma GCC unroll 8
    for (int n = 0; n < kVectors; ++n) right[n] = Load(b + k * b_stride + n * kLanes<A>);
#pragma GCC unroll 8
    for (int m = 0; m < kRows; ++m) {
      const Vec<A> left = Broadcast(a.data[m * a.row + k * a.step]);
#pragma GCC unroll 8
      for (int n = 0; n < kVectors; ++n) {
        if constexpr (kSkipZeros) {
          sum[m][n] = left != Vec<A>{} ? sum[m][n] + left * right[n] : sum[m][n];
        } else {
          sum[m][n] += left * right[n];
        }
      }
    }
  }
#pragma GCC unroll 8
  for (int m = 0; m < kRows; ++m) {
#pragma GCC unroll 8
    for (int n = 0; n < kVectors; ++n) Store(c.data + m * c.stride + n * kLanes<A>, sum[m][n]);
  }
}

// Rows of a tile of the products below: 8 rows by 2 vectors are 16 independent sums, enough to fill the pipelines.
inline constexpr int kTileRows = 8;

template <int kRows, int kVectors, bool kSkipZeros, typename A>
void TileColumns(LeftFactor<A> a, Panel<const A> b, int64_t depth, Panel<A> c, int vectors, bool add) {
  int n = 0;
  for (; n + kVectors <= vectors; n += kVectors) {
    Tile<kRows, kVectors, kSkipZeros>(a, b.data + n * kLanes<A>, b.stride, depth,
                                      Panel<A>{c.data + n * kLanes<A>, c.stride}, add);
  }
  if constexpr (kVectors > 1) {
    if (n == vectors) return;
    TileColumns<kRows, kVectors / 2, kSkipZeros>(a, Panel<const A>{b.data + n * kLanes<A>, b.stride}, depth,
                                                 Panel<A>{c.data + n * kLanes<A>, c.stride}, vectors - n, add);
  }
}

// c [rows, vectors] = (or +=) a [rows, depth] b [depth, vectors], rows <= kTileRows.
template <bool kSkipZeros, typename A>
void Multiply(int rows, LeftFactor<A> a, Panel<const A> b, int64_t depth, Panel<A> c, int vectors, bool add) {
  if (rows == kTileRows) return TileColumns<kTileRows, 2, kSkipZeros>(a, b, depth, c, vectors, add);
  int m = 0;
  const auto part = [&](auto count) {
    TileColumns<count(), 4, kSkipZeros>(LeftFactor<A>{a.data + m * a.row, a.row, a.step}, b, depth,
                                        Panel<A>{c.data + m * c.stride, c.stride}, vectors, add);
    m += count();
  };
  if (rows & 4) part(std::integral_constant<int, 4>());
  if (rows & 2) part(std::integral_constant<int, 2>());
  if (rows & 1) part(std::integral_constant<int, 1>());
}

}  // namespace photon::cpu
