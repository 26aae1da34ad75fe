// What the kernels of attention for Hopper's warpgroups share: a warpgroup that copies, others that compute, and the
// ring of tiles between them.
//
// Warpgroup 0 copies. The others own 64 rows each of the block's tile, and walk over the tiles that come round in the
// ring, each at its own pace: while one has its weights to compute, the tensor cores work for another. Tiles are panels
// (attention_tiles.h) of 64 columns; heads narrower than that are filled up with zeros.
#pragma once

#include "core/cuda/attention_scores.h"
#include "core/cuda/attention_stream_mma.h"
#include "warpgroup.h"

namespace photon::cuda {

static_assert(kStreamThreads == kWarpgroup, "tiles are copied by as many threads");

inline constexpr int kComputing = 2;  // warpgroups
inline constexpr int kWarpgroupThreads = (1 + kComputing) * kWarpgroup;
// Of a thread: together not more than a block of so many threads, alone on its multiprocessor, has at launch (168).
inline constexpr int kCopyingRegisters = 56, kComputingRegisters = 224;
inline constexpr int kWarpgroupRows = 64;  // that a warpgroup owns
inline constexpr int kPanel = 64;          // columns
inline constexpr int kEightLines = 8 * kPanel * sizeof(Bits);

// Begins to copy a tile of kPanels panels; called by the warpgroup that copies.
template <int kPanels, int kRows>
__device__ __forceinline__ void CopyPanels(Bits* tile, StreamRows from, int rows, int head_dim, int piece) {
#pragma unroll
  for (int p = 0; p < kPanels; ++p) {
    CopyTile<kPanel, kRows>(tile + PanelElement<kRows>(0, p * kPanel), from.At(0, p * kPanel), rows,
                            head_dim - p * kPanel, piece);
  }
}

// Factors of products: 16 deep, of the rows of a tile from `row` (a multiple of 8) on. The depth is columns, from
// 16 `step` on,
template <int kRows>
__device__ __forceinline__ uint64_t RowsFactor(const Bits* tile, int row, int step) {
  return SwizzledFactor(tile + PanelElement<kRows>(row, 16 * step), 0, kEightLines);
}
// or rows: those from `row` on.
template <int kRows>
__device__ __forceinline__ uint64_t ColumnsFactor(const Bits* tile, int row) {
  return SwizzledFactor(tile + PanelElement<kRows>(row, 0), PanelElement<kRows>(0, kPanel) * sizeof(Bits), kEightLines);
}

// Rounded [64][8 kTiles] in registers, times rows of a tile as deep.
template <int kRows, int kTiles, int kSums>
__device__ __forceinline__ void AddProduct(float (&sums)[kSums][4], const uint32_t (&left)[kTiles / 2][4],
                                           const Bits* tile) {
  static_assert(8 * kTiles <= kRows);
#pragma unroll
  for (int step = 0; step < kTiles / 2; ++step) {
    Product</*DepthAcross=*/true>(sums, left[step], ColumnsFactor<kRows>(tile, 16 * step), true);
  }
}
// A warp's part of [64][64 kPanels], in registers, times the transpose of the first 8 kSums rows of a tile.
template <int kRows, int kSteps, int kSums>
__device__ __forceinline__ void TransposedProduct(float (&sums)[kSums][4], const uint32_t (&left)[kSteps][4],
                                                  const Bits* tile) {
#pragma unroll
  for (int step = 0; step < kSteps; ++step) {
    Product</*DepthAcross=*/false>(sums, left[step], RowsFactor<kRows>(tile, 0, step), step > 0);
  }
}

template <int kTiles>
__device__ __forceinline__ void PackLeft(uint32_t (&left)[kTiles / 2][4], const float (&tiles)[kTiles][4]) {
#pragma unroll
  for (int step = 0; step < kTiles / 2; ++step) PackLeft(left[step], tiles[2 * step], tiles[2 * step + 1]);
}

template <int kTiles>
__device__ __forceinline__ void Clear(float (&tiles)[kTiles][4]) {
#pragma unroll
  for (int i = 0; i < 4 * kTiles; ++i) tiles[i / 4][i % 4] = 0;
}

// The barriers of a ring of kStages tiles in shared memory. The copying threads arrive at `full`, the computing warps
// at `empty`, once a round. `own`: the block's own tile is there.
template <int kStages_>
struct Ring {
  static constexpr int kStages = kStages_;
  static_assert(kStages >= 3);  // computing warps hold two tiles while they wait for a third
  SharedBarrier full[kStages], empty[kStages], own;

  // By one thread, before the block's first barrier.
  __device__ __forceinline__ void Begin() {
    for (int stage = 0; stage < kStages; ++stage) {
      Init(&full[stage], kWarpgroup);
      Init(&empty[stage], kComputing * kWarpgroup / kWarp);
    }
    Init(&own, kWarpgroup);
  }
};

// Where a thread is in the ring.
template <int kStages>
struct RingPlace {
  int stage = 0, phase = 0;

  __device__ __forceinline__ void Advance() {
    if (++stage == kStages) {
      stage = 0;
      phase ^= 1;
    }
  }
};

// All but the newest kPending copies of this thread have arrived.
template <int kPending>
__device__ __forceinline__ void Tell(SharedBarrier* barrier) {
  CopyAsyncWait<kPending>();
  ShowToProducts();
  Arrive(barrier);
}

// The copying warpgroup's work: begins `copy_own()`, then copy(step, stage) for every step. Each is told of when the
// next has begun, or at once where that has to wait for a free stage.
template <int kStages, typename CopyOwn, typename Copy>
__device__ __forceinline__ void CopyAround(Ring<kStages>& ring, int steps, CopyOwn&& copy_own, Copy&& copy) {
  copy_own();
  CopyAsyncCommit();
  SharedBarrier* begun = &ring.own;  // or null: told of
  RingPlace<kStages> place;
#pragma unroll 1
  for (int step = 0; step < steps; ++step) {
    SharedBarrier* const empty = &ring.empty[place.stage];
    if (!Ended(empty, place.phase ^ 1)) {
      if (begun != nullptr) Tell<0>(begun);
      begun = nullptr;
      Wait(empty, place.phase ^ 1);
    }
    copy(step, place.stage);
    CopyAsyncCommit();
    if (begun != nullptr) Tell<1>(begun);
    begun = &ring.full[place.stage];
    place.Advance();
  }
  if (begun != nullptr) Tell<0>(begun);
}

// By every computing warp.
template <int kStages>
__device__ __forceinline__ void GiveBack(Ring<kStages>& ring, int stage) {
  __syncwarp();
  if (threadIdx.x % kWarp == 0) Arrive(&ring.empty[stage]);
}

}  // namespace photon::cuda
