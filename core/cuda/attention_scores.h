// What the kernels of attention over long streams do with scores in a thread's registers, whichever instructions put
// them there.
//
// A thread's part of [16 rows][8 kTiles columns] is [kTiles][4], element i of a tile where SumPlace (attention_tiles.h)
// says: of the rows lane / 4 and, eight below, the other "half". Four lanes share a row.
#pragma once

#include <cmath>

#include "core/cuda/attention_tiles.h"
#include "core/cuda/exponential.h"
#include "core/cuda/warp.h"
#include "simt.h"

namespace photon::cuda {

// Replaces by `with` what rows from `row` on do not see of keys from `key` on.
template <int kTiles>
__device__ __forceinline__ void Hide(float (&scores)[kTiles][4], const StreamSpan& span, int row, int key, float with) {
  const TilePlace place = SumPlace(threadIdx.x % kWarp, 0);
  const int origin = key + place.column;  // of the thread's keys: what follows is constants
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int r = row + place.row + 8 * half;
    const int first = span.FirstKey(r < span.length ? r : span.length - 1) - origin;
#pragma unroll
    for (int i = 0; i < 2 * kTiles; ++i) {
      float& score = scores[i / 2][2 * half + i % 2];
      score = Sees(span.offset + r - origin, first, 8 * (i / 2) + i % 2) ? score : with;
    }
  }
}

// Two rows of the softmax so far. Each of the four lanes has its own part of the total.
struct SoftmaxRows {
  float largest[2] = {-INFINITY, -INFINITY};
  float total[2] = {0, 0};

  // With base 2; 0 where nothing was seen.
  __device__ __forceinline__ float Base(int half, float scale) const {
    return largest[half] == -INFINITY ? 0 : largest[half] * scale;
  }
};

// Sums so far are scaled anew when a row's largest score has grown by more than this (of base 2): seldom, and never by
// more than what f32 and bf16 carry without loss. Decided for each row by itself.
inline constexpr float kSlack = 8;

// Looks at further scores. True where some sums of the rows have to shrink, each by its factor. `scale`: of scores,
// with base 2.
template <int kTiles>
__device__ __forceinline__ bool Grow(const float (&scores)[kTiles][4], float scale, SoftmaxRows& rows,
                                     float (&shrink)[2]) {
  bool grown = false;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    float high = -INFINITY;
#pragma unroll
    for (int i = 0; i < 2 * kTiles; ++i) high = fmaxf(high, scores[i / 2][2 * half + i % 2]);
    high = WarpMax<4>(high);
    float& largest = rows.largest[half];
    const bool grows = (high - largest) * scale > kSlack;  // false for -inf - -inf: nothing seen yet
    shrink[half] = grows ? Exp2((largest - high) * scale) : 1;
    largest = grows ? high : largest;
    grown |= grows;
  }
  return grown;
}
template <int kTiles>
__device__ __forceinline__ void Shrink(float (&sums)[kTiles][4], const float (&shrink)[2]) {
#pragma unroll
  for (int i = 0; i < 4 * kTiles; ++i) sums[i / 4][i % 4] *= shrink[i / 2 % 2];
}

// Replaces scores by weights, and adds them up.
template <int kTiles>
__device__ __forceinline__ void Weigh(float (&scores)[kTiles][4], float scale, SoftmaxRows& rows) {
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const float base = rows.Base(half, scale);
    float total = 0;
#pragma unroll
    for (int i = 0; i < 2 * kTiles; ++i) {
      float& score = scores[i / 2][2 * half + i % 2];
      score = Exp2(fmaf(score, scale, -base));
      total += score;
    }
    rows.total[half] += total;
  }
}

// Backward, rows of queries: replaces scores by their gradients, but for the factor 1 / sqrt(head_dim) that `scale`
// holds. lse with base 2.
template <int kTiles>
__device__ __forceinline__ void Differentiate(float (&scores)[kTiles][4], const float (&dweights)[kTiles][4],
                                              float scale, const float (&lse)[2], const float (&dot)[2]) {
#pragma unroll
  for (int i = 0; i < 4 * kTiles; ++i) {
    float& x = scores[i / 4][i % 4];
    const float weight = Exp2(fmaf(x, scale, -lse[i / 2 % 2]));
    x = weight * (dweights[i / 4][i % 4] - dot[i / 2 % 2]);
  }
}

// Backward, rows of keys, columns of queries: numbers of the queries, in shared memory.
template <int kQueries>
struct QueryNumbers {
  float lse[kQueries];
  float dot[kQueries];
  int32_t first_key[kQueries];
};

// Replaces scores of queries from number `query` on by their weights; hidden ones, if `masked`, by 0. `position` is
// that of query number 0; first keys count if `has_first_keys`.
template <int kRowTiles, int kTiles, int kQueries>
__device__ __forceinline__ void WeighColumns(float (&scores)[kRowTiles][kTiles][4],
                                             const QueryNumbers<kQueries>& numbers, int query, float scale, bool masked,
                                             bool has_first_keys, int position, int key) {
  const TilePlace place = SumPlace(threadIdx.x % kWarp, 0);
#pragma unroll
  for (int i = 0; i < 2 * kTiles; ++i) {
    const int q = query + place.column + 8 * (i / 2) + i % 2;
    const float lse = numbers.lse[q] * kLog2E;
    const int first = masked && has_first_keys ? numbers.first_key[q] : 0;
#pragma unroll
    for (int m = 0; m < kRowTiles; ++m) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        float& x = scores[m][i / 2][2 * half + i % 2];
        x = Exp2(fmaf(x, scale, -lse));
        if (masked) x = Sees(position + q, first, key + 16 * m + place.row + 8 * half) ? x : 0;
      }
    }
  }
}
// Replaces gradients of weights by those of scores. Hidden ones stay 0 whatever is behind them.
template <int kRowTiles, int kTiles, int kQueries>
__device__ __forceinline__ void DifferentiateColumns(float (&dweights)[kRowTiles][kTiles][4],
                                                     const float (&weights)[kRowTiles][kTiles][4],
                                                     const QueryNumbers<kQueries>& numbers, int query) {
  const int column = SumPlace(threadIdx.x % kWarp, 0).column;
#pragma unroll
  for (int i = 0; i < 2 * kTiles; ++i) {
    const float dot = numbers.dot[query + column + 8 * (i / 2) + i % 2];
#pragma unroll
    for (int m = 0; m < kRowTiles; ++m) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const float weight = weights[m][i / 2][2 * half + i % 2];
        float& x = dweights[m][i / 2][2 * half + i % 2];
        x = weight == 0 ? 0 : weight * (x - dot);
      }
    }
  }
}

// [16][16] of one product, rounded, as the left factor of the next.
__device__ __forceinline__ void PackLeft(uint32_t (&left)[4], const float (&low)[4], const float (&high)[4]) {
  left[0] = PackBf16(low[0], low[1]);
  left[1] = PackBf16(low[2], low[3]);
  left[2] = PackBf16(high[0], high[1]);
  left[3] = PackBf16(high[2], high[3]);
}

}  // namespace photon::cuda
