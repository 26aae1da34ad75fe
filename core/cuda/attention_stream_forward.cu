// Forward attention over long streams on tensor cores: flash attention (Dao et al. 2022; 2023).
//
// A block owns rows of one head and walks over tiles of keys and values, of which the next one arrives while this one
// is worked on. Weights stay in registers: rounded to bf16 they are the left factor of their product with the values.
// Every row's sums are taken in the order of keys, tiles lying at multiples of their size from key 0, and depend on no
// other row.
#include <cmath>

#include "core/cuda/attention_stream_mma.h"
#include "core/cuda/warp.h"

namespace photon::cuda {
namespace {

// kRowTiles: a warp's rows in 16s. kKeys: of a tile. Queries stay in registers, or are read again for every tile of
// keys.
template <int kWidth_, int kRowTiles_, int kKeys_, bool kQueriesInRegisters_>
struct ForwardShape {
  static constexpr int kWidth = kWidth_, kRowTiles = kRowTiles_, kKeys = kKeys_;
  static constexpr bool kQueriesInRegisters = kQueriesInRegisters_;
  static constexpr int kWarpRows = 16 * kRowTiles, kRows = kStreamWarps * kWarpRows;
  static constexpr int kQueryElements = kRows * kWidth, kKeyElements = kKeys * kWidth;
  static constexpr size_t kShared = sizeof(Bits) * (kQueryElements + 2 * 2 * kKeyElements);
};

template <typename Shape>
using Scores = float[Shape::kRowTiles][Shape::kKeys / 8][4];

template <typename Shape>
__device__ __forceinline__ void Score(Scores<Shape>& scores,
                                      const uint32_t (&resident)[Shape::kRowTiles][Shape::kWidth / 16][4],
                                      const Bits* queries, int first_row, const Bits* keys) {
  constexpr int kWidth = Shape::kWidth, kRowTiles = Shape::kRowTiles, kKeys = Shape::kKeys;
  const TilePlace left_place = LeftPlace(threadIdx.x % kWarp), right_place = RightPlace(threadIdx.x % kWarp);
#pragma unroll
  for (int i = 0; i < kRowTiles * kKeys / 2; ++i) scores[i / (kKeys / 2)][i / 4 % (kKeys / 8)][i % 4] = 0;
#pragma unroll
  for (int x = 0; x < kWidth / 16; ++x) {
    uint32_t left[kRowTiles][4];
#pragma unroll
    for (int m = 0; m < kRowTiles; ++m) {
      if constexpr (Shape::kQueriesInRegisters) {
#pragma unroll
        for (int i = 0; i < 4; ++i) left[m][i] = resident[m][x][i];
      } else {
        LoadMatrix4(left[m],
                    queries + TileElement<kWidth>(first_row + 16 * m + left_place.row, 16 * x + left_place.column));
      }
    }
#pragma unroll
    for (int n = 0; n < kKeys / 16; ++n) {
      uint32_t right[4];
      LoadMatrix4(right, keys + TileElement<kWidth>(16 * n + right_place.row, 16 * x + right_place.column));
#pragma unroll
      for (int m = 0; m < kRowTiles; ++m) {
        MmaBf16(scores[m][2 * n], left[m], {right[0], right[1]});
        MmaBf16(scores[m][2 * n + 1], left[m], {right[2], right[3]});
      }
    }
  }
}

// Replaces the scores of the thread's rows by their weights, and scales what was summed before where it must be.
// `scale`: of scores, with base 2.
template <typename Shape>
__device__ __forceinline__ void Softmax(Scores<Shape>& scores, SoftmaxRows (&rows)[Shape::kRowTiles], float scale,
                                        float (&out)[Shape::kRowTiles][Shape::kWidth / 8][4]) {
  float shrink[Shape::kRowTiles][2];
  bool grown = false;
#pragma unroll
  for (int m = 0; m < Shape::kRowTiles; ++m) grown |= Grow(scores[m], scale, rows[m], shrink[m]);
  if (__ballot_sync(kAllLanes, grown) != 0) {  // else all factors are 1
#pragma unroll
    for (int m = 0; m < Shape::kRowTiles; ++m) {
      rows[m].total[0] *= shrink[m][0];
      rows[m].total[1] *= shrink[m][1];
      Shrink(out[m], shrink[m]);
    }
  }
#pragma unroll
  for (int m = 0; m < Shape::kRowTiles; ++m) Weigh(scores[m], scale, rows[m]);
}

template <typename Shape>
__global__ void __launch_bounds__(kStreamThreads, 2) StreamForwardKernel(const StreamArguments a) {
  constexpr int kWidth = Shape::kWidth, kRowTiles = Shape::kRowTiles, kRows = Shape::kRows, kKeys = Shape::kKeys;
  Bits* const queries = DynamicShared<Bits>();
  Bits* const stages = queries + Shape::kQueryElements;  // [2][keys, values]
  const StreamBlock block = StreamBlockOf(blockIdx.x, a.tiles, a.heads, /*last_tile_first=*/true);
  const int64_t begin = block.sequence * a.length, key_begin = block.sequence * a.keys;
  const StreamSpan span = a.SpanAt(begin);
  const int block_row = block.tile * kRows, tile_row = static_cast<int>(threadIdx.x) / kWarp * Shape::kWarpRows;
  const int row = block_row + tile_row;  // the warp's first
  const int key_head = KeyHeadOf(block.head, a.heads, a.kv_heads);
  const int64_t key_column = int64_t{key_head} * a.head_dim;
  const StreamRows k = a.k.At(key_begin, key_column), v = a.v.At(key_begin, key_column);
  const TileRange tiles = KeyTiles(span, block_row, kRows, kKeys);

  const auto copy = [&](int tile) {
    Bits* const stage = stages + (tile & 1) * 2 * Shape::kKeyElements;
    const int key = tile * kKeys, keys = span.seen_keys() - key;
    CopyTile<kWidth, kKeys>(stage, k.At(key, 0), keys, a.head_dim, a.piece);
    CopyTile<kWidth, kKeys>(stage + Shape::kKeyElements, v.At(key, 0), keys, a.head_dim, a.piece);
    CopyAsyncCommit();
  };
  CopyTile<kWidth, kRows>(queries, a.q.At(begin + block_row, int64_t{block.head} * a.head_dim), a.length - block_row,
                          a.head_dim, a.piece);
  copy(tiles.begin);
  uint32_t resident[kRowTiles][kWidth / 16][4];
  if constexpr (Shape::kQueriesInRegisters) {
    CopyAsyncWait<0>();
    __syncthreads();
    LoadLeft<kWidth, kRowTiles>(resident, queries, tile_row);
  }

  const int rows =
      a.length - row < Shape::kWarpRows ? a.length - row : Shape::kWarpRows;  // of the warp, may be negative
  const float scale = a.scale * kLog2E;
  SoftmaxRows softmax[kRowTiles];
  float out[kRowTiles][kWidth / 8][4];
#pragma unroll
  for (int i = 0; i < kRowTiles * kWidth / 2; ++i) out[i / (kWidth / 2)][i / 4 % (kWidth / 8)][i % 4] = 0;

#pragma unroll 1
  for (int tile = tiles.begin; tile < tiles.end; ++tile) {
    CopyAsyncWait<0>();
    __syncthreads();  // this tile is here, and nobody reads the one before, whose place the next one takes
    if (tile + 1 < tiles.end) copy(tile + 1);
    const int key = tile * kKeys;
    if (rows <= 0 || AllHidden(a.offset + row, rows, span.FirstKey(row), key, kKeys)) continue;
    const Bits* const keys = stages + (tile & 1) * 2 * Shape::kKeyElements;
    Scores<Shape> scores;
    Score<Shape>(scores, resident, queries, tile_row, keys);
    if (AnyHidden(a.offset + row, span.FirstKey(row + rows - 1), key, kKeys)) {
#pragma unroll
      for (int m = 0; m < kRowTiles; ++m) Hide(scores[m], span, row + 16 * m, key, -INFINITY);
    }
    Softmax<Shape>(scores, softmax, scale, out);
#pragma unroll
    for (int n = 0; n < kKeys / 16; ++n) {
      uint32_t weights[kRowTiles][4];
#pragma unroll
      for (int m = 0; m < kRowTiles; ++m) PackLeft(weights[m], scores[m][2 * n], scores[m][2 * n + 1]);
      MultiplyAdd<kWidth, kRowTiles>(out, weights, keys + Shape::kKeyElements, 16 * n);
    }
  }

  float inverse[kRowTiles][2];
  EndSoftmax(a, softmax, block.head, begin + row, rows, inverse);
  StoreSums<kWidth, kRowTiles>(out, inverse, queries, tile_row,
                               a.out.At(begin + block_row, int64_t{block.head} * a.head_dim), a.length - block_row,
                               a.head_dim, a.piece);
}

template <typename Shape>
void Run(const Context& context, StreamArguments a, const ops::AttentionShape& shape) {
  a.tiles = TilesOf(shape.length, Shape::kRows);
  const int64_t blocks = shape.batch * shape.heads * a.tiles;
  Launch(context, "attention_forward", StreamForwardKernel<Shape>, dim3(static_cast<unsigned>(blocks)),
         dim3(kStreamThreads), Shape::kShared, a);
}

}  // namespace

void StreamForwardMma(const Context& context, const Tensor& q, const Tensor& k, const Tensor& v,
                      const ops::AttentionShape& shape, const Tensor& out, const Tensor& lse) {
  const StreamArguments a = ForwardArgumentsOf(q, k, v, shape, out, lse);
  if (shape.head_dim <= 64) {
    (shape.length <= 64 ? Run<ForwardShape<64, 1, 64, true>> : Run<ForwardShape<64, 2, 64, true>>)(context, a, shape);
  } else {
    Run<ForwardShape<128, 2, 32, false>>(context, a, shape);
  }
}

}  // namespace photon::cuda
