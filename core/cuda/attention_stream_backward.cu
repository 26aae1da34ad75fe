// Backward attention over long streams on tensor cores: weights are recomputed tile by tile from the saved log-sum-exp.
//
// Two kernels. One owns keys and walks over queries, for the gradients of keys and values; one owns queries and walks
// over keys. Together they take seven products a pair of tiles where one kernel would take five: the scores and
// dout v^T are computed twice. In return every gradient is summed in registers, in one order, by one thread: no
// atomics, no turns to take, no f32 copy of dq in memory; and weights and their gradients, kept transposed where keys
// are owned, are left factors of the next products without a detour through shared memory.
#include "core/cuda/attention_stream_mma.h"

namespace photon::cuda {
namespace {

constexpr int kOther = 64;  // rows of the tiles that are walked over
using Numbers = QueryNumbers<kOther>;

// kTiles: a warp's own rows in 16s.
template <int kWidth_, int kTiles_>
struct BackwardShape {
  static constexpr int kWidth = kWidth_, kTiles = kTiles_;
  static constexpr int kWarpRows = 16 * kTiles, kOwn = kStreamWarps * kWarpRows;
  static constexpr int kOwnElements = kOwn * kWidth, kOtherElements = kOther * kWidth;
  static constexpr size_t kElements = 2 * kOwnElements + 2 * 2 * kOtherElements;  // two tensors; two stages of two
};

template <typename Shape>
__global__ void __launch_bounds__(kStreamThreads, 2) StreamQueryGradientKernel(const StreamArguments a) {
  constexpr int kWidth = Shape::kWidth, kTiles = Shape::kTiles;
  Bits* const queries = DynamicShared<Bits>();
  Bits* const douts = queries + Shape::kOwnElements;
  Bits* const stages = douts + Shape::kOwnElements;  // [2][keys, values]
  const StreamBlock block = StreamBlockOf(blockIdx.x, a.tiles, a.heads, /*last_tile_first=*/true);
  const int64_t begin = block.sequence * a.length, key_begin = block.sequence * a.keys;
  const int64_t column = int64_t{block.head} * a.head_dim;
  const StreamSpan span = a.SpanAt(begin);
  const int lane = threadIdx.x % kWarp;
  const int block_row = block.tile * Shape::kOwn, tile_row = static_cast<int>(threadIdx.x) / kWarp * Shape::kWarpRows;
  const int row = block_row + tile_row;  // the warp's first
  const int64_t key_column = int64_t{KeyHeadOf(block.head, a.heads, a.kv_heads)} * a.head_dim;
  const StreamRows k = a.k.At(key_begin, key_column), v = a.v.At(key_begin, key_column);
  const TileRange tiles = KeyTiles(span, block_row, Shape::kOwn, kOther);

  const auto copy = [&](int tile) {
    Bits* const stage = stages + (tile & 1) * 2 * Shape::kOtherElements;
    const int key = tile * kOther, count = span.seen_keys() - key;
    CopyTile<kWidth, kOther>(stage, k.At(key, 0), count, a.head_dim, a.piece);
    CopyTile<kWidth, kOther>(stage + Shape::kOtherElements, v.At(key, 0), count, a.head_dim, a.piece);
    CopyAsyncCommit();
  };
  CopyTile<kWidth, Shape::kOwn>(queries, a.q.At(begin + block_row, column), a.length - block_row, a.head_dim, a.piece);
  CopyTile<kWidth, Shape::kOwn>(douts, a.dout.At(begin + block_row, column), a.length - block_row, a.head_dim, a.piece);
  copy(tiles.begin);
  CopyAsyncWait<0>();
  __syncthreads();
  uint32_t q[kTiles][kWidth / 16][4], dout[kTiles][kWidth / 16][4];
  LoadLeft<kWidth, kTiles>(q, queries, tile_row);
  LoadLeft<kWidth, kTiles>(dout, douts, tile_row);

  const int rows =
      a.length - row < Shape::kWarpRows ? a.length - row : Shape::kWarpRows;  // of the warp, may be negative
  const float scale = a.scale * kLog2E;
  float lse[kTiles][2], dot[kTiles][2];  // of the thread's rows; lse with base 2
  float dq[kTiles][kWidth / 8][4];
#pragma unroll
  for (int m = 0; m < kTiles; ++m) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int r = 16 * m + SumPlace(lane, 2 * half).row;
      const int64_t at = begin + row + r;
      lse[m][half] = r < rows ? a.lse[block.head * a.lse_stride + at] * kLog2E : 0;
      dot[m][half] = r < rows ? a.dots[block.head * a.dots_stride + at] : 0;
    }
#pragma unroll
    for (int i = 0; i < kWidth / 2; ++i) dq[m][i / 4][i % 4] = 0;
  }

#pragma unroll 1
  for (int tile = tiles.begin; tile < tiles.end; ++tile) {
    CopyAsyncWait<0>();
    __syncthreads();
    if (tile + 1 < tiles.end) copy(tile + 1);
    if (rows <= 0) continue;
    const Bits* const keys = stages + (tile & 1) * 2 * Shape::kOtherElements;
#pragma unroll 1
    for (int n = 0; n < kOther; n += 16) {
      const int key = tile * kOther + n;
      if (AllHidden(a.offset + row, rows, span.FirstKey(row), key, 16)) continue;
      const bool masked = AnyHidden(a.offset + row, span.FirstKey(row + rows - 1), key, 16);
      float scores[kTiles][2][4], dweights[kTiles][2][4];
      MultiplyTransposed<kWidth, kTiles>(scores, q, keys, n);
      MultiplyTransposed<kWidth, kTiles>(dweights, dout, keys + Shape::kOtherElements, n);
      uint32_t dscores[kTiles][4];
#pragma unroll
      for (int m = 0; m < kTiles; ++m) {
        Differentiate(scores[m], dweights[m], scale, lse[m], dot[m]);
        if (masked) Hide(scores[m], span, row + 16 * m, key, 0);
        PackLeft(dscores[m], scores[m][0], scores[m][1]);
      }
      MultiplyAdd<kWidth, kTiles>(dq, dscores, keys, n);
    }
  }

  float factor[kTiles][2];
#pragma unroll
  for (int m = 0; m < kTiles; ++m) factor[m][0] = factor[m][1] = a.scale;
  StoreSums<kWidth, kTiles>(dq, factor, queries, tile_row, a.dq.At(begin + block_row, column), a.length - block_row,
                            a.head_dim, a.piece);
}

// Gradients of the keys and values of one key/value head: over its query heads in their order, and of each over rows.
template <typename Shape>
__global__ void __launch_bounds__(kStreamThreads, 2) StreamKeyGradientKernel(const StreamArguments a) {
  constexpr int kWidth = Shape::kWidth, kTiles = Shape::kTiles;
  Bits* const keys = DynamicShared<Bits>();
  Bits* const values = keys + Shape::kOwnElements;
  Bits* const stages = values + Shape::kOwnElements;                                        // [2][queries, douts]
  Numbers* const numbers = reinterpret_cast<Numbers*>(stages + 4 * Shape::kOtherElements);  // [2]
  const StreamBlock block = StreamBlockOf(blockIdx.x, a.tiles, a.kv_heads, /*last_tile_first=*/false);
  const int64_t begin = block.sequence * a.length, key_begin = block.sequence * a.keys;
  const int64_t column = int64_t{block.head} * a.head_dim;
  const StreamSpan span = a.SpanAt(begin);
  const int block_key = block.tile * Shape::kOwn, tile_row = static_cast<int>(threadIdx.x) / kWarp * Shape::kWarpRows;
  const int key = block_key + tile_row;  // the warp's first
  const TileRange tiles = RowTiles(span, block_key, Shape::kOwn, kOther);
  const bool masks = a.first_key != nullptr;
  const int first_head = FirstHeadOf(block.head, a.heads, a.kv_heads);
  const int heads = FirstHeadOf(block.head + 1, a.heads, a.kv_heads) - first_head;
  const int steps_of_head = tiles.end - tiles.begin, steps = heads * steps_of_head;

  const auto copy = [&](int step) {
    Bits* const stage = stages + (step & 1) * 2 * Shape::kOtherElements;
    const int copied_head = first_head + step / steps_of_head;
    const int row = (tiles.begin + step % steps_of_head) * kOther, rows = a.length - row;
    const int64_t at = begin + row, query_column = int64_t{copied_head} * a.head_dim;
    CopyTile<kWidth, kOther>(stage, a.q.At(at, query_column), rows, a.head_dim, a.piece);
    CopyTile<kWidth, kOther>(stage + Shape::kOtherElements, a.dout.At(at, query_column), rows, a.head_dim, a.piece);
    CopyNumbers(numbers[step & 1], a, copied_head, at, rows);
    CopyAsyncCommit();
  };
  const int seen = span.seen_keys();
  CopyTile<kWidth, Shape::kOwn>(keys, a.k.At(key_begin + block_key, column), seen - block_key, a.head_dim, a.piece);
  CopyTile<kWidth, Shape::kOwn>(values, a.v.At(key_begin + block_key, column), seen - block_key, a.head_dim, a.piece);
  CopyAsyncCommit();
  if (steps > 0) copy(0);
  CopyAsyncWait<0>();
  __syncthreads();
  uint32_t k[kTiles][kWidth / 16][4], v[kTiles][kWidth / 16][4];
  LoadLeft<kWidth, kTiles>(k, keys, tile_row);
  LoadLeft<kWidth, kTiles>(v, values, tile_row);
  float dk[kTiles][kWidth / 8][4], dv[kTiles][kWidth / 8][4];
#pragma unroll
  for (int m = 0; m < kTiles; ++m) {
#pragma unroll
    for (int i = 0; i < kWidth / 2; ++i) dk[m][i / 4][i % 4] = dv[m][i / 4][i % 4] = 0;
  }
  const float scale = a.scale * kLog2E;

#pragma unroll 1
  for (int step = 0; step < steps; ++step) {
    CopyAsyncWait<0>();
    __syncthreads();
    if (step + 1 < steps) copy(step + 1);
    const int tile_position = a.offset + (tiles.begin + step % steps_of_head) * kOther;
    if (key >= seen) continue;
    const Bits* const queries = stages + (step & 1) * 2 * Shape::kOtherElements;
    const Bits* const douts = queries + Shape::kOtherElements;
    const Numbers& number = numbers[step & 1];
#pragma unroll 1
    for (int n = 0; n < kOther; n += 16) {
      const int position = tile_position + n, count = seen - position < 16 ? seen - position : 16;
      // Queries behind the end are zeros: they add zeros.
      if (count <= 0 || AllHidden(position, count, masks ? number.first_key[n] : 0, key, Shape::kWarpRows)) {
        continue;
      }
      const bool masked = AnyHidden(position, masks ? number.first_key[n + count - 1] : 0, key, Shape::kWarpRows);
      float weights[kTiles][2][4];  // [key][query]
      MultiplyTransposed<kWidth, kTiles>(weights, k, queries, n);
      WeighColumns(weights, number, n, scale, masked, masks, tile_position, key);
      uint32_t left[kTiles][4];
#pragma unroll
      for (int m = 0; m < kTiles; ++m) PackLeft(left[m], weights[m][0], weights[m][1]);
      MultiplyAdd<kWidth, kTiles>(dv, left, douts, n);
      float dscores[kTiles][2][4];
      MultiplyTransposed<kWidth, kTiles>(dscores, v, douts, n);
      DifferentiateColumns(dscores, weights, number, n);
#pragma unroll
      for (int m = 0; m < kTiles; ++m) PackLeft(left[m], dscores[m][0], dscores[m][1]);
      MultiplyAdd<kWidth, kTiles>(dk, left, queries, n);
    }
  }

  float factor[kTiles][2];
#pragma unroll
  for (int m = 0; m < kTiles; ++m) factor[m][0] = factor[m][1] = a.scale;
  const int rows = a.keys - block_key;
  StoreSums<kWidth, kTiles>(dk, factor, keys, tile_row, a.dk.At(key_begin + block_key, column), rows, a.head_dim,
                            a.piece);
#pragma unroll
  for (int m = 0; m < kTiles; ++m) factor[m][0] = factor[m][1] = 1;
  StoreSums<kWidth, kTiles>(dv, factor, values, tile_row, a.dv.At(key_begin + block_key, column), rows, a.head_dim,
                            a.piece);
}

// Calls f(a BackwardShape) for tiles that own some of `rows` rows or keys.
template <typename F>
void VisitShape(int64_t head_dim, int64_t rows, F&& f) {
  if (head_dim > 64) return f(BackwardShape<128, 1>());
  if (rows <= 64) return f(BackwardShape<64, 1>());
  f(BackwardShape<64, 2>());
}

}  // namespace

void StreamBackwardMma(const Context& context, const Tensor& dout, const Tensor& q, const Tensor& k, const Tensor& v,
                       const Tensor& out, const Tensor& lse, const ops::AttentionShape& shape, const Tensor& dq,
                       const Tensor& dk, const Tensor& dv) {
  const Tensor dots = context.Empty(lse.shape(), DType::kF32);
  StreamArguments a = BackwardArgumentsOf(context, dout, q, k, v, out, lse, shape, dots, dq, dk, dv);
  const auto run = [&](auto tile, auto kernel, int64_t rows, int heads, size_t numbers) {
    using Shape = decltype(tile);
    a.tiles = TilesOf(rows, Shape::kOwn);
    Launch(context, "attention_backward", kernel, dim3(static_cast<unsigned>(shape.batch * heads * a.tiles)),
           dim3(kStreamThreads), sizeof(Bits) * Shape::kElements + numbers, a);
  };
  VisitShape(shape.head_dim, shape.key_count(), [&](auto tile) {
    run(tile, StreamKeyGradientKernel<decltype(tile)>, shape.key_count(), shape.kv_heads, 2 * sizeof(Numbers));
  });
  VisitShape(shape.head_dim, shape.length,
             [&](auto tile) { run(tile, StreamQueryGradientKernel<decltype(tile)>, shape.length, shape.heads, 0); });
}

}  // namespace photon::cuda
