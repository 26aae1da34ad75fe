// Attention of query rows over one block of cached keys, on tensor cores: the arithmetic of cached_attention_mma.cu.
//
// A block of keys has four quarters. Whoever computes them, one warp or four, computes the same: weights against the
// largest score of the block, sums of each quarter from zero on, and these added in order.
#pragma once

#include <cmath>

#include "core/cuda/attention_scores.h"
#include "core/cuda/attention_stream_mma.h"
#include "core/cuda/cached_attention.h"

namespace photon::cuda {

inline constexpr int kQuarters = kStreamWarps;
inline constexpr int kTogether = 64;  // columns whose sums of one block are in registers at once

// Who does what: each warp a sequence's head of its own, whose cache is no longer than a quarter of a block of keys (a
// window's); the warps of a block of threads a quarter each, for the same few query rows; or 16 rows each.
enum class CachedRows { kShort, kFew, kMany };

// kPiece: bytes of a copy.
template <int kWidth_, int kPiece_, CachedRows kKind>
struct CachedShape {
  static constexpr int kWidth = kWidth_, kPiece = kPiece_;
  static constexpr bool kMany = kKind == CachedRows::kMany, kWarpsShareRows = kKind == CachedRows::kFew;
  static constexpr int kKeys = kWidth == 64 ? 128 : 64;
  static constexpr int kQuarter = kKeys / kQuarters, kTiles = kQuarter / 8, kSums = kWidth / 8;
  static constexpr int kRows = kMany ? 16 * kStreamWarps : 16;  // of a block of threads; kShort: of a warp
  static constexpr int kElements = kKeys * kWidth;              // of keys or values
  static constexpr int kStages = kMany ? 2 : 1;                 // blocks of few rows have one block of keys each
  static constexpr int kResident = (kWidth == 64 ? 3 : 2) * (kMany ? 1 : 2);  // blocks on a multiprocessor, at least
  static constexpr size_t kShared = sizeof(Bits) * kStages * 2 * kElements;
  using Left = uint32_t[1][kWidth / 16][4];
};

// A warp's 16 query rows as left factors. `row`: the first, of those of the group below `end`.
template <typename S>
__device__ __forceinline__ void LoadQueries(typename S::Left& left, const CachedCall<BFloat16>& call,
                                            const QueryGroup& group, int64_t sequence, int row, int end) {
  const int lane = threadIdx.x % kWarp;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int r = row + lane / 4 + 8 * half;
    const BFloat16* const from =
        r < end ? call.q + call.Row(sequence, group.position(r)) * call.q_stride + group.head(r) * call.head_dim
                : nullptr;
#pragma unroll
    for (int i = 0; i < S::kWidth / 8; ++i) {
      const int column = 8 * i + lane % 4 * 2;
      left[0][i / 2][i % 2 * 2 + half] =
          from != nullptr && column < call.head_dim ? *reinterpret_cast<const uint32_t*>(from + column) : 0;
    }
  }
}

// How many keys the thread's rows see, `before` of them the sequence's first new row. `row`, `end` as above.
__device__ __forceinline__ void KeysSeen(const QueryGroup& group, int row, int end, int before, int (&seen)[2]) {
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int r = row + static_cast<int>(threadIdx.x) % kWarp / 4 + 8 * half;
    seen[half] = r < end ? before + group.position(r) : before;
  }
}

// Scores of a quarter of the block's keys. Rows see `visible` of the block's keys, none more than `most`; beyond that,
// whole 16s of keys need not be there.
template <typename S>
__device__ __forceinline__ void ScoreQuarter(float (&scores)[S::kTiles][4], const typename S::Left& queries,
                                             const Bits* keys, int quarter, const int (&visible)[2],
                                             int most = S::kKeys) {
#pragma unroll
  for (int n = 0; n < S::kTiles / 2; ++n) {
    float part[1][2][4] = {};
    if (quarter * S::kQuarter + 16 * n < most) {
      MultiplyTransposed<S::kWidth, 1>(part, queries, keys, quarter * S::kQuarter + 16 * n);
    }
#pragma unroll
    for (int i = 0; i < 8; ++i) scores[2 * n + i / 4][i % 4] = part[0][i / 4][i % 4];
  }
  const int first = quarter * S::kQuarter + SumPlace(threadIdx.x % kWarp, 0).column;
#pragma unroll
  for (int i = 0; i < 4 * S::kTiles; ++i) {
    if (first + i / 4 * 8 + i % 2 >= visible[i / 2 % 2]) scores[i / 4][i % 4] = -INFINITY;
  }
}

template <typename S>
__device__ __forceinline__ void Largest(const float (&scores)[S::kTiles][4], float (&largest)[2]) {
#pragma unroll
  for (int i = 0; i < 4 * S::kTiles; ++i) {
    largest[i / 2 % 2] = fmaxf(largest[i / 2 % 2], scores[i / 4][i % 4]);
  }
}

// Weights of a quarter, rounded, as left factors, and their sum.
template <typename S>
__device__ __forceinline__ void WeighQuarter(float (&scores)[S::kTiles][4], float scale, const float (&largest)[2],
                                             uint32_t (&weights)[S::kTiles / 2][1][4], float (&weight)[2]) {
  SoftmaxRows rows = {.largest = {largest[0], largest[1]}, .total = {0, 0}};
  Weigh(scores, scale, rows);
#pragma unroll
  for (int half = 0; half < 2; ++half) weight[half] = WarpSum<4>(rows.total[half]);
#pragma unroll
  for (int n = 0; n < S::kTiles / 2; ++n) PackLeft(weights[n][0], scores[2 * n], scores[2 * n + 1]);
}

// Sums of a quarter's values, of kColumns columns from `column` on.
template <typename S, int kColumns>
__device__ __forceinline__ void SumQuarter(float (&sums)[1][kColumns / 8][4],
                                           const uint32_t (&weights)[S::kTiles / 2][1][4], const Bits* values,
                                           int quarter, int column, int most = S::kKeys) {
#pragma unroll
  for (int i = 0; i < kColumns / 2; ++i) sums[0][i / 4][i % 4] = 0;
#pragma unroll
  for (int n = 0; n < S::kTiles / 2; ++n) {
    if (quarter * S::kQuarter + 16 * n < most) {
      MultiplyAdd<S::kWidth, 1, kColumns>(sums, weights[n], values, quarter * S::kQuarter + 16 * n, column);
    }
  }
}

// What rows have of the blocks so far: the largest score (with the factor 1 / sqrt(head_dim)), the sum of weights, and
// that of values.
template <typename S>
struct CachedRowSums {
  float largest[2] = {-INFINITY, -INFINITY}, weight[2] = {0, 0};
  float sums[1][S::kSums][4] = {};

  // A further block, by each warp for its own rows.
  __device__ __forceinline__ void AddBlock(const CachedCall<BFloat16>& call, const typename S::Left& queries,
                                           const Bits* keys, const int (&visible)[2]) {
    float scores[kQuarters][S::kTiles][4], most[2] = {-INFINITY, -INFINITY};
#pragma unroll
    for (int quarter = 0; quarter < kQuarters; ++quarter) {
      ScoreQuarter<S>(scores[quarter], queries, keys, quarter, visible);
      Largest<S>(scores[quarter], most);
    }
    most[0] = WarpMax<4>(most[0]);
    most[1] = WarpMax<4>(most[1]);
    uint32_t weights[kQuarters][S::kTiles / 2][1][4];
    float block_weight[2];
#pragma unroll
    for (int quarter = 0; quarter < kQuarters; ++quarter) {
      float part[2];
      WeighQuarter<S>(scores[quarter], call.scale * kLog2E, most, weights[quarter], part);
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        block_weight[half] = quarter == 0 ? part[half] : block_weight[half] + part[half];
      }
    }
    Shares<float> shares[2];
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      // Rounded as when it comes from memory: not fused with the difference that is taken of it.
      shares[half] = Balance(largest[half], __fmul_rn(most[half], call.scale));
      weight[half] = Add(weight[half], block_weight[half], shares[half]);
    }
#pragma unroll
    for (int column = 0; column < S::kWidth; column += kTogether) {
      float block[1][kTogether / 8][4];
#pragma unroll
      for (int quarter = 0; quarter < kQuarters; ++quarter) {
        float part[1][kTogether / 8][4];
        SumQuarter<S, kTogether>(part, weights[quarter], keys + S::kElements, quarter, column);
#pragma unroll
        for (int i = 0; i < kTogether / 2; ++i) {
          float& sum = block[0][i / 4][i % 4];
          sum = quarter == 0 ? part[0][i / 4][i % 4] : sum + part[0][i / 4][i % 4];
        }
      }
#pragma unroll
      for (int i = 0; i < kTogether / 2; ++i) {
        float& sum = sums[0][column / 8 + i / 4][i % 4];
        sum = Add(sum, block[0][i / 4][i % 4], shares[i / 2 % 2]);
      }
    }
  }

  // The only block, by all warps together for the same rows: each computes a quarter, and all get the whole. The keys,
  // and values of wide heads, are written over.
  __device__ __forceinline__ void SetBlock(const CachedCall<BFloat16>& call, const typename S::Left& queries,
                                           Bits* keys, const int (&visible)[2]) {
    __shared__ float largest_of[kQuarters][16], weight_of[kQuarters][16];
    const int quarter = threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
    float scores[S::kTiles][4];
    ScoreQuarter<S>(scores, queries, keys, quarter, visible);
    Largest<S>(scores, largest);
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      largest[half] = WarpMax<4>(largest[half]);
      if (lane % 4 == 0) largest_of[quarter][lane / 4 + 8 * half] = largest[half];
    }
    __syncthreads();
#pragma unroll
    for (int half = 0; half < 2; ++half) {
#pragma unroll
      for (int q = 0; q < kQuarters; ++q) largest[half] = fmaxf(largest[half], largest_of[q][lane / 4 + 8 * half]);
    }
    uint32_t weights[S::kTiles / 2][1][4];
    WeighQuarter<S>(scores, call.scale * kLog2E, largest, weights, weight);
    SumQuarter<S, S::kWidth>(sums, weights, keys + S::kElements, quarter, 0);
    float* const parts = reinterpret_cast<float*>(keys);  // [quarter][row][column]
    if constexpr (sizeof(float) * kQuarters * 16 * S::kWidth > sizeof(Bits) * S::kElements) __syncthreads();
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      if (lane % 4 == 0) weight_of[quarter][lane / 4 + 8 * half] = weight[half];
    }
#pragma unroll
    for (int i = 0; i < 4 * S::kSums; ++i) {
      const TilePlace place = SumPlace(lane, i % 4);
      parts[(quarter * 16 + place.row) * S::kWidth + i / 4 * 8 + place.column] = sums[0][i / 4][i % 4];
    }
    __syncthreads();
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      largest[half] = __fmul_rn(largest[half], call.scale);
      weight[half] = weight_of[0][lane / 4 + 8 * half];
#pragma unroll
      for (int q = 1; q < kQuarters; ++q) weight[half] += weight_of[q][lane / 4 + 8 * half];
    }
#pragma unroll
    for (int i = 0; i < 4 * S::kSums; ++i) {
      const TilePlace place = SumPlace(lane, i % 4);
      const float* const part = parts + place.row * S::kWidth + i / 4 * 8 + place.column;
      float sum = part[0];
#pragma unroll
      for (int q = 1; q < kQuarters; ++q) sum += part[q * 16 * S::kWidth];
      sums[0][i / 4][i % 4] = sum;
    }
  }

  // The only block, of which a quarter is all there is: `most` keys.
  __device__ __forceinline__ void SetShort(const CachedCall<BFloat16>& call, const typename S::Left& queries,
                                           const Bits* keys, const Bits* values, const int (&visible)[2], int most) {
    float scores[S::kTiles][4];
    ScoreQuarter<S>(scores, queries, keys, 0, visible, most);
    Largest<S>(scores, largest);
    largest[0] = WarpMax<4>(largest[0]);
    largest[1] = WarpMax<4>(largest[1]);
    uint32_t weights[S::kTiles / 2][1][4];
    WeighQuarter<S>(scores, call.scale * kLog2E, largest, weights, weight);
    SumQuarter<S, S::kWidth>(sums, weights, values, 0, 0, most);
  }

  // The rows' results or, where keys are cut, shares. After SetBlock() every warp writes a part.
  __device__ __forceinline__ void Write(const CachedCall<BFloat16>& call, const QueryGroup& group, int64_t sequence,
                                        int row, int end, int block) const {
    const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int r = row + lane / 4 + 8 * half;
      if (r >= end) continue;
      const int position = group.position(r), head = group.head(r);
      const int64_t partial = call.splits == 1 ? 0 : call.Partial(sequence, position, head, block);
      BFloat16* const out = call.out + call.Row(sequence, position) * call.out_stride + head * call.head_dim;
      float* const share = call.sums + partial * call.head_dim;
#pragma unroll
      for (int i = 0; i < S::kSums; ++i) {
        const int column = 8 * i + lane % 4 * 2;
        if (column >= call.head_dim || (S::kWarpsShareRows && i % kQuarters != warp)) continue;
        const float* const two = &sums[0][i][2 * half];
        if (call.splits == 1) {
          *reinterpret_cast<uint32_t*>(out + column) = PackBf16(two[0] / weight[half], two[1] / weight[half]);
        } else {
          *reinterpret_cast<float2*>(share + column) = {two[0], two[1]};
        }
      }
      if (call.splits > 1 && lane % 4 == 0 && (!S::kWarpsShareRows || warp == 0)) {
        call.weights[2 * partial] = largest[half];
        call.weights[2 * partial + 1] = weight[half];
      }
    }
  }
};

}  // namespace photon::cuda
