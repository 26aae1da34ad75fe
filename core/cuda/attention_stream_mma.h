// What the tensor-core kernels of attention share: tiles from global to shared memory, from there to registers, and
// back.
//
// A block has four warps. A warp owns 16 or 32 rows of the block's tile, as left factors, and walks with the others
// over tiles of the right factors. Its products stay in its registers: sums of the first product are, rounded to bf16,
// the left factor of the second. Tiles are kWidth (64 or 128) elements wide, heads narrower than that are filled up
// with zeros.
#pragma once

#include <cmath>
#include <initializer_list>

#include "core/cuda/attention_scores.h"
#include "core/cuda/attention_stream.h"
#include "core/cuda/attention_tiles.h"
#include "core/cuda/launch.h"
#include "core/ops/attention.h"
#include "simt.h"

namespace photon::cuda {

inline constexpr int kStreamWarps = 4;
inline constexpr int kStreamThreads = kStreamWarps * kWarp;

using Bits = uint16_t;  // of a bf16

// One head of one tensor's rows, or all of it.
struct StreamRows {
  Bits* data;
  int64_t stride;

  __device__ __forceinline__ StreamRows At(int64_t row, int64_t column) const {
    return {data + row * stride + column, stride};
  }
};

// What all kernels get.
struct StreamArguments {
  StreamRows q, k, v, out, dout, dq, dk, dv;  // the last four: of the backward pass
  float* lse;                                 // [heads, rows], rows lse_stride apart; forward: may be null
  const float* dots;                          // [heads, rows]: dout . out
  const int32_t* first_key;
  int64_t lse_stride, dots_stride;
  int length, keys, offset;  // of each sequence: rows, keys, and the position of the first row
  int tiles, heads, kv_heads, head_dim;
  int piece;  // bytes that are copied at once: 16, 8, 4 or 2, as widths, strides and addresses allow
  float scale;

  // Of the sequence whose first row is `begin`.
  __device__ __forceinline__ StreamSpan SpanAt(int64_t begin) const {
    return {length, offset, first_key == nullptr ? nullptr : first_key + begin};
  }
};

inline StreamRows RowsOf(const Tensor& t) { return {static_cast<Bits*>(t.raw()), t.stride(0)}; }

// The largest piece that divides a head's row and all that leads to it.
inline int PieceOf(std::initializer_list<StreamRows> all, int64_t head_dim) {
  for (const int piece : {16, 8, 4}) {
    bool fits = 2 * head_dim % piece == 0;
    for (const StreamRows& t : all)
      fits &= 2 * t.stride % piece == 0 && reinterpret_cast<uintptr_t>(t.data) % piece == 0;
    if (fits) return piece;
  }
  return 2;
}

inline StreamArguments ArgumentsOf(const Tensor& q, const Tensor& k, const Tensor& v,
                                   const ops::AttentionShape& shape) {
  StreamArguments a = {};
  a.q = RowsOf(q);
  a.k = RowsOf(k);
  a.v = RowsOf(v);
  a.first_key = shape.first_key.defined() ? shape.first_key.data<int32_t>() : nullptr;
  a.length = static_cast<int>(shape.length);
  a.keys = static_cast<int>(shape.key_count());
  a.offset = static_cast<int>(shape.offset);
  a.heads = shape.heads;
  a.kv_heads = shape.kv_heads;
  a.head_dim = static_cast<int>(shape.head_dim);
  a.scale = 1 / std::sqrt(static_cast<float>(shape.head_dim));
  return a;
}

// `lse` may be undefined.
inline StreamArguments ForwardArgumentsOf(const Tensor& q, const Tensor& k, const Tensor& v,
                                          const ops::AttentionShape& shape, const Tensor& out, const Tensor& lse) {
  StreamArguments a = ArgumentsOf(q, k, v, shape);
  a.out = RowsOf(out);
  a.piece = PieceOf({a.q, a.k, a.v, a.out}, shape.head_dim);
  if (lse.defined()) {
    a.lse = lse.data<float>();
    a.lse_stride = lse.stride(0);
  }
  return a;
}

// Queues OutputDots() into `dots`, like lse.
inline StreamArguments BackwardArgumentsOf(const Context& context, const Tensor& dout, const Tensor& q, const Tensor& k,
                                           const Tensor& v, const Tensor& out, const Tensor& lse,
                                           const ops::AttentionShape& shape, const Tensor& dots, const Tensor& dq,
                                           const Tensor& dk, const Tensor& dv) {
  OutputDots(context, dout, out, shape, dots);
  StreamArguments a = ArgumentsOf(q, k, v, shape);
  a.dout = RowsOf(dout);
  a.dq = RowsOf(dq);
  a.dk = RowsOf(dk);
  a.dv = RowsOf(dv);
  a.piece = PieceOf({a.q, a.k, a.v, a.dout, a.dq, a.dk, a.dv}, shape.head_dim);
  a.lse = lse.data<float>();
  a.lse_stride = lse.stride(0);
  a.dots = dots.data<float>();
  a.dots_stride = dots.stride(0);
  return a;
}

// Begins to copy a tile [kRows][kWidth] of which the first `rows` and columns below head_dim exist; the rest is zeros.
template <int kWidth, int kRows, int kPiece>
__device__ __forceinline__ void CopyPieces(Bits* tile, StreamRows from, int rows, int head_dim) {
  constexpr int kElements = kPiece / static_cast<int>(sizeof(Bits)), kPieces = kWidth / kElements;
  constexpr int kStep = kStreamThreads / kPieces;  // rows
  const int first = static_cast<int>(threadIdx.x) / kPieces,
            column = static_cast<int>(threadIdx.x) % kPieces * kElements;
  if (column >= head_dim) rows = 0;
  const Bits* source = from.data + first * from.stride + column;
#pragma unroll 1
  for (int row = 0; row < kRows; row += kStep) {
    const bool real = first + row < rows;
    CopyAsync<kPiece>(tile + TileElement<kWidth>(first + row, column), real ? source : from.data, real);
    source += kStep * from.stride;
  }
}
template <int kWidth, int kRows>
__device__ __forceinline__ void CopyTile(Bits* tile, StreamRows from, int rows, int head_dim, int piece) {
  if (piece == 16) {
    CopyPieces<kWidth, kRows, 16>(tile, from, rows, head_dim);
  } else if (piece == 8) {
    CopyPieces<kWidth, kRows, 8>(tile, from, rows, head_dim);
  } else if (piece == 4) {
    CopyPieces<kWidth, kRows, 4>(tile, from, rows, head_dim);
  } else {
#pragma unroll 1
    for (int i = threadIdx.x; i < kRows * kWidth; i += kStreamThreads) {
      const int row = i / kWidth, column = i % kWidth;
      tile[TileElement<kWidth>(row, column)] =
          row < rows && column < head_dim ? from.data[row * from.stride + column] : Bits{0};
    }
  }
}

// A warp's left factors: 16 kTiles rows of a tile, all columns.
template <int kWidth, int kTiles>
__device__ __forceinline__ void LoadLeft(uint32_t (&left)[kTiles][kWidth / 16][4], const Bits* tile, int first_row) {
  const TilePlace place = LeftPlace(threadIdx.x % kWarp);
#pragma unroll
  for (int m = 0; m < kTiles; ++m) {
#pragma unroll
    for (int x = 0; x < kWidth / 16; ++x) {
      LoadMatrix4(left[m][x], tile + TileElement<kWidth>(first_row + 16 * m + place.row, 16 * x + place.column));
    }
  }
}

// sums [16 kTiles][16] of left [.., kWidth] times the transpose of 16 rows of `tile`, rows from `first_row` on.
template <int kWidth, int kTiles>
__device__ __forceinline__ void MultiplyTransposed(float (&sums)[kTiles][2][4],
                                                   const uint32_t (&left)[kTiles][kWidth / 16][4], const Bits* tile,
                                                   int first_row) {
  const TilePlace place = RightPlace(threadIdx.x % kWarp);
#pragma unroll
  for (int m = 0; m < kTiles; ++m) {
#pragma unroll
    for (int i = 0; i < 8; ++i) sums[m][i / 4][i % 4] = 0;
  }
#pragma unroll
  for (int x = 0; x < kWidth / 16; ++x) {
    uint32_t right[4];
    LoadMatrix4(right, tile + TileElement<kWidth>(first_row + place.row, 16 * x + place.column));
#pragma unroll
    for (int m = 0; m < kTiles; ++m) {
      MmaBf16(sums[m][0], left[m][x], {right[0], right[1]});
      MmaBf16(sums[m][1], left[m][x], {right[2], right[3]});
    }
  }
}

// sums [16 kTiles][kColumns] += left [.., 16] times 16 rows of `tile`, rows from `first_row` and columns from
// `first_column` on.
template <int kWidth, int kTiles, int kColumns = kWidth>
__device__ __forceinline__ void MultiplyAdd(float (&sums)[kTiles][kColumns / 8][4], const uint32_t (&left)[kTiles][4],
                                            const Bits* tile, int first_row, int first_column = 0) {
  const TilePlace place = LeftPlace(threadIdx.x % kWarp);
#pragma unroll
  for (int x = 0; x < kColumns / 16; ++x) {
    uint32_t right[4];
    LoadMatrix4Transposed(right,
                          tile + TileElement<kWidth>(first_row + place.row, first_column + 16 * x + place.column));
#pragma unroll
    for (int m = 0; m < kTiles; ++m) {
      MmaBf16(sums[m][2 * x], left[m], {right[0], right[1]});
      MmaBf16(sums[m][2 * x + 1], left[m], {right[2], right[3]});
    }
  }
}

// The end of a warp's softmax, of 16 kTiles rows from row `row` of the batch on, of which the first `rows` exist: 1
// over each row's total, and its log-sum-exp to where it is wanted.
template <int kTiles>
__device__ __forceinline__ void EndSoftmax(const StreamArguments& a, const SoftmaxRows (&softmax)[kTiles], int head,
                                           int64_t row, int rows, float (&inverse)[kTiles][2]) {
  const int lane = threadIdx.x % kWarp;
#pragma unroll
  for (int m = 0; m < kTiles; ++m) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const float total = WarpSum<4>(softmax[m].total[half]);
      inverse[m][half] = 1 / total;
      const int r = 16 * m + SumPlace(lane, 2 * half).row;
      if (a.lse != nullptr && lane % 4 == 0 && r < rows) {
        a.lse[head * a.lse_stride + row + r] = fmaf(softmax[m].largest[half], a.scale, logf(total));
      }
    }
  }
}

// Begins to copy the numbers of kQueries queries from row `row` of the batch on, of which `rows` exist.
template <int kQueries>
__device__ __forceinline__ void CopyNumbers(QueryNumbers<kQueries>& numbers, const StreamArguments& a, int head,
                                            int64_t row, int rows) {
  const int i = threadIdx.x;
  if (i >= kQueries) return;
  const int r = i < rows ? i : 0;
  CopyAsync<4>(&numbers.lse[i], a.lse + head * a.lse_stride + row + r, i < rows);
  CopyAsync<4>(&numbers.dot[i], a.dots + head * a.dots_stride + row + r, i < rows);
  if (a.first_key != nullptr) CopyAsync<4>(&numbers.first_key[i], a.first_key + row + r, i < rows);
}

// Rounds sums times a factor of each row, [m][0] of rows lane / 4 and [m][1] of those eight below, and writes them by
// way of the warp's own rows of a tile, from `first_row` of it on, that nobody else reads. `rows`: that exist of the
// tile.
template <int kWidth, int kTiles>
__device__ __forceinline__ void StoreSums(const float (&sums)[kTiles][kWidth / 8][4], const float (&factor)[kTiles][2],
                                          Bits* tile, int first_row, StreamRows to, int rows, int head_dim, int piece) {
  const int lane = threadIdx.x % kWarp;
  __syncwarp();
#pragma unroll
  for (int m = 0; m < kTiles; ++m) {
#pragma unroll
    for (int x = 0; x < kWidth / 8; ++x) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const TilePlace place = SumPlace(lane, 2 * half);
        const float* const two = &sums[m][x][2 * half];
        *reinterpret_cast<uint32_t*>(tile + TileElement<kWidth>(first_row + 16 * m + place.row, 8 * x + place.column)) =
            PackBf16(two[0] * factor[m][half], two[1] * factor[m][half]);
      }
    }
  }
  __syncwarp();
  const int elements = piece / static_cast<int>(sizeof(Bits)), pieces = kWidth / elements;
  for (int i = lane; i < 16 * kTiles * pieces; i += kWarp) {
    const int row = first_row + i / pieces, column = i % pieces * elements;
    if (row >= rows || column >= head_dim) continue;
    const Bits* const from = tile + TileElement<kWidth>(row, column);
    Bits* const target = to.data + row * to.stride + column;
    if (piece == 16) {
      *reinterpret_cast<uint4*>(target) = *reinterpret_cast<const uint4*>(from);
    } else if (piece == 8) {
      *reinterpret_cast<uint2*>(target) = *reinterpret_cast<const uint2*>(from);
    } else if (piece == 4) {
      *reinterpret_cast<uint32_t*>(target) = *reinterpret_cast<const uint32_t*>(from);
    } else {
      *target = *from;
    }
  }
}

}  // namespace photon::cuda
