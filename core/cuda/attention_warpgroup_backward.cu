// Backward attention over long streams with Hopper's warpgroups, for heads of at most 64: weights are recomputed tile
// by tile from the saved log-sum-exp.
//
// Two kernels, as in attention_stream_backward.cu and for the same reasons: one owns keys and walks over queries, the
// other owns queries and walks over keys. Gradients stay in registers as sums; left factors come from there, right
// factors from shared memory as they lie there, by rows or by columns. While one warpgroup waits, the other one's
// products run: sums of a product that outlives its turn of the loop would make the compiler wait after every product.
#include "core/cuda/attention_warpgroup.h"

namespace photon::cuda {
namespace {

constexpr int kOwn = kComputing * kWarpgroupRows;  // rows of the block's own tile
constexpr int kOther = 64;                         // rows of the tiles that are walked over
constexpr int kOwnElements = kOwn * kPanel, kOtherElements = kOther * kPanel;
constexpr int kSums = kPanel / 8, kSteps = kPanel / 16, kScores = kOther / 8;  // tiles of eight columns; 16 deep
using Tiles = Ring<4>;
using Numbers = QueryNumbers<kOther>;
// A warp's 16 rows of the block's own tile. Loaded for every tile that is walked over anew: ptxas (12.9 and 13.0) gives
// the registers of left factors that a loop's products share to what the loop packs, and does not load them again
// (tests/sass).
using Left = uint32_t[1][kSteps][4];

// Shared memory: two tensors of the block's own rows, the ring's stages of two, numbers of queries, barriers.
struct Places {
  Bits *own, *stages;
  Numbers* numbers;
  Tiles* ring;

  __device__ __forceinline__ Places()
      : own(SwizzledShared<Bits>()),
        stages(own + 2 * kOwnElements),
        numbers(reinterpret_cast<Numbers*>(stages + Tiles::kStages * 2 * kOtherElements)),
        ring(reinterpret_cast<Tiles*>(numbers + Tiles::kStages)) {}
  static constexpr size_t kBytes = kSwizzleSlack +
                                   sizeof(Bits) * (2 * kOwnElements + Tiles::kStages * 2 * kOtherElements) +
                                   Tiles::kStages * sizeof(Numbers) + sizeof(Tiles);

  __device__ __forceinline__ Bits* First(int stage) const { return stages + stage * 2 * kOtherElements; }
  __device__ __forceinline__ Bits* Second(int stage) const { return First(stage) + kOtherElements; }
};

// Writes the warp's sums by way of its own rows of a tile of the block's.
__device__ __forceinline__ void StoreOwn(const float (&sums)[1][kSums][4], float factor, Bits* tile, int first_row,
                                         StreamRows to, int rows, int head_dim, int piece) {
  const float factors[1][2] = {{factor, factor}};
  StoreSums<kPanel, 1>(sums, factors, tile, first_row, to, rows, head_dim, piece);
}

__global__ void __launch_bounds__(kWarpgroupThreads, 1) WarpgroupQueryGradientKernel(const StreamArguments a) {
  if (!kHasWarpgroups) {
    __trap();
  } else {
    const Places places;
    Tiles& ring = *places.ring;
    const StreamBlock block = StreamBlockOf(blockIdx.x, a.tiles, a.heads, /*last_tile_first=*/true);
    const int64_t begin = block.sequence * a.length;
    const int64_t column = int64_t{block.head} * a.head_dim;
    const StreamSpan span = a.SpanAt(begin);
    const int block_row = block.tile * kOwn;
    const TileRange tiles = KeyTiles(span, block_row, kOwn, kOther);
    if (threadIdx.x == 0) ring.Begin();
    __syncthreads();
    if (threadIdx.x < kWarpgroup) {
      GiveRegisters<kCopyingRegisters>();
      const int64_t key_begin = block.sequence * a.keys;
      const int64_t key_column = int64_t{KeyHeadOf(block.head, a.heads, a.kv_heads)} * a.head_dim;
      const StreamRows k = a.k.At(key_begin, key_column), v = a.v.At(key_begin, key_column);
      CopyAround(
          ring, tiles.end - tiles.begin,
          [&] {
            const int rows = a.length - block_row;
            CopyPanels<1, kOwn>(places.own, a.q.At(begin + block_row, column), rows, a.head_dim, a.piece);
            CopyPanels<1, kOwn>(places.own + kOwnElements, a.dout.At(begin + block_row, column), rows, a.head_dim,
                                a.piece);
          },
          [&](int step, int stage) {
            const int key = (tiles.begin + step) * kOther, count = span.seen_keys() - key;
            CopyPanels<1, kOther>(places.First(stage), k.At(key, 0), count, a.head_dim, a.piece);
            CopyPanels<1, kOther>(places.Second(stage), v.At(key, 0), count, a.head_dim, a.piece);
          });
    } else {
      TakeRegisters<kComputingRegisters>();
      const int tile_row = static_cast<int>(threadIdx.x) / kWarp * 16 - kWarpgroupRows;  // the warp's first
      const int group_row = block_row + tile_row / kWarpgroupRows * kWarpgroupRows, row = block_row + tile_row;
      const int rows = a.length - group_row < kWarpgroupRows ? a.length - group_row : kWarpgroupRows;  // may be < 0
      const float scale = a.scale * kLog2E;
      float lse[2], dot[2];  // of the thread's rows; lse with base 2
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int r = row + SumPlace(threadIdx.x % kWarp, 2 * half).row;
        lse[half] = r < a.length ? a.lse[block.head * a.lse_stride + begin + r] * kLog2E : 0;
        dot[half] = r < a.length ? a.dots[block.head * a.dots_stride + begin + r] : 0;
      }
      Wait(&ring.own, 0);
      float dq[1][kSums][4];
      Clear(dq[0]);
      RingPlace<Tiles::kStages> place;
#pragma unroll 1
      for (int tile = tiles.begin; tile < tiles.end; ++tile) {
        Wait(&ring.full[place.stage], place.phase);
        const int key = tile * kOther;
        if (rows > 0 && !AllHidden(a.offset + group_row, rows, span.FirstKey(group_row), key, kOther)) {
          float scores[kScores][4], dweights[kScores][4];
          Left q, dout;
          LoadLeft<kPanel, 1>(q, places.own, tile_row);
          LoadLeft<kPanel, 1>(dout, places.own + kOwnElements, tile_row);
          OrderRegisters();
          TransposedProduct<kOther, kSteps>(scores, q[0], places.First(place.stage));
          CommitProducts();
          TransposedProduct<kOther, kSteps>(dweights, dout[0], places.Second(place.stage));
          CommitProducts();
          WaitForProducts<0>(scores, dweights);
          Differentiate(scores, dweights, scale, lse, dot);
          if (AnyHidden(a.offset + group_row, span.FirstKey(group_row + rows - 1), key, kOther)) {
            Hide(scores, span, row, key, 0);
          }
          uint32_t dscores[kScores / 2][4];
          PackLeft(dscores, scores);
          OrderRegisters();
          AddProduct<kOther, kScores>(dq[0], dscores, places.First(place.stage));
          CommitProducts();
          WaitForProducts<0>(dq[0]);
        }
        GiveBack(ring, place.stage);
        place.Advance();
      }
      StoreOwn(dq, a.scale, places.own, tile_row, a.dq.At(begin + block_row, column), a.length - block_row, a.head_dim,
               a.piece);
    }
  }
}

// Gradients of the keys and values of one key/value head: over its query heads in their order, and of each over rows.
__global__ void __launch_bounds__(kWarpgroupThreads, 1) WarpgroupKeyGradientKernel(const StreamArguments a) {
  if (!kHasWarpgroups) {
    __trap();
  } else {
    const Places places;
    Tiles& ring = *places.ring;
    const StreamBlock block = StreamBlockOf(blockIdx.x, a.tiles, a.kv_heads, /*last_tile_first=*/false);
    const int64_t begin = block.sequence * a.length, key_begin = block.sequence * a.keys;
    const int64_t column = int64_t{block.head} * a.head_dim;
    const StreamSpan span = a.SpanAt(begin);
    const int block_key = block.tile * kOwn, seen = span.seen_keys();
    const TileRange tiles = RowTiles(span, block_key, kOwn, kOther);
    const bool has_first_keys = a.first_key != nullptr;
    const int first_head = FirstHeadOf(block.head, a.heads, a.kv_heads);
    const int heads = FirstHeadOf(block.head + 1, a.heads, a.kv_heads) - first_head;
    const int steps_of_head = tiles.end - tiles.begin, steps = heads * steps_of_head;
    if (threadIdx.x == 0) ring.Begin();
    __syncthreads();
    if (threadIdx.x < kWarpgroup) {
      GiveRegisters<kCopyingRegisters>();
      CopyAround(
          ring, steps,
          [&] {
            const int rows = seen - block_key;
            CopyPanels<1, kOwn>(places.own, a.k.At(key_begin + block_key, column), rows, a.head_dim, a.piece);
            CopyPanels<1, kOwn>(places.own + kOwnElements, a.v.At(key_begin + block_key, column), rows, a.head_dim,
                                a.piece);
          },
          [&](int step, int stage) {
            const int head = first_head + step / steps_of_head;
            const int row = (tiles.begin + step % steps_of_head) * kOther, rows = a.length - row;
            const int64_t at = begin + row, query_column = int64_t{head} * a.head_dim;
            CopyPanels<1, kOther>(places.First(stage), a.q.At(at, query_column), rows, a.head_dim, a.piece);
            CopyPanels<1, kOther>(places.Second(stage), a.dout.At(at, query_column), rows, a.head_dim, a.piece);
            CopyNumbers(places.numbers[stage], a, head, at, rows);
          });
    } else {
      TakeRegisters<kComputingRegisters>();
      const int tile_row = static_cast<int>(threadIdx.x) / kWarp * 16 - kWarpgroupRows;  // the warp's first
      const int group_key = block_key + tile_row / kWarpgroupRows * kWarpgroupRows, key = block_key + tile_row;
      const float scale = a.scale * kLog2E;
      Wait(&ring.own, 0);
      float dk[1][kSums][4], dv[1][kSums][4];
      Clear(dk[0]);
      Clear(dv[0]);
      RingPlace<Tiles::kStages> place;
#pragma unroll 1
      for (int step = 0; step < steps; ++step) {
        Wait(&ring.full[place.stage], place.phase);
        const int row = (tiles.begin + step % steps_of_head) * kOther, position = a.offset + row;
        const int count = a.length - row < kOther ? a.length - row : kOther;
        const Numbers& numbers = places.numbers[place.stage];
        // Queries behind the end are zeros: they add zeros.
        if (!AllHidden(position, count, has_first_keys ? numbers.first_key[0] : 0, group_key, kWarpgroupRows)) {
          const Bits* const queries = places.First(place.stage);
          const Bits* const douts = places.Second(place.stage);
          const bool masked =
              AnyHidden(position, has_first_keys ? numbers.first_key[count - 1] : 0, group_key, kWarpgroupRows);
          float weights[1][kScores][4], dscores[1][kScores][4];  // [key][query]
          uint32_t left[kScores / 2][4];
          Left k, v;
          LoadLeft<kPanel, 1>(k, places.own, tile_row);
          LoadLeft<kPanel, 1>(v, places.own + kOwnElements, tile_row);
          OrderRegisters();
          TransposedProduct<kOther, kSteps>(weights[0], k[0], queries);
          CommitProducts();
          TransposedProduct<kOther, kSteps>(dscores[0], v[0], douts);
          CommitProducts();
          WaitForProducts<1>(weights[0]);
          WeighColumns(weights, numbers, 0, scale, masked, has_first_keys, position, key);
          PackLeft(left, weights[0]);
          OrderRegisters();
          AddProduct<kOther, kScores>(dv[0], left, douts);
          CommitProducts();
          WaitForProducts<1>(dscores[0]);
          DifferentiateColumns(dscores, weights, numbers, 0);
          uint32_t dleft[kScores / 2][4];
          PackLeft(dleft, dscores[0]);
          OrderRegisters();
          AddProduct<kOther, kScores>(dk[0], dleft, queries);
          CommitProducts();
          WaitForProducts<0>(dk[0], dv[0]);
        }
        GiveBack(ring, place.stage);
        place.Advance();
      }
      const int rows = a.keys - block_key;
      StoreOwn(dk, a.scale, places.own, tile_row, a.dk.At(key_begin + block_key, column), rows, a.head_dim, a.piece);
      StoreOwn(dv, 1, places.own + kOwnElements, tile_row, a.dv.At(key_begin + block_key, column), rows, a.head_dim,
               a.piece);
    }
  }
}

}  // namespace

void StreamBackwardWarpgroup(const Context& context, const Tensor& dout, const Tensor& q, const Tensor& k,
                             const Tensor& v, const Tensor& out, const Tensor& lse, const ops::AttentionShape& shape,
                             const Tensor& dq, const Tensor& dk, const Tensor& dv) {
  const Tensor dots = context.Empty(lse.shape(), DType::kF32);
  StreamArguments a = BackwardArgumentsOf(context, dout, q, k, v, out, lse, shape, dots, dq, dk, dv);
  const auto run = [&](auto kernel, int64_t rows, int heads) {
    a.tiles = TilesOf(rows, kOwn);
    Launch(context, "attention_backward", kernel, dim3(static_cast<unsigned>(shape.batch * heads * a.tiles)),
           dim3(kWarpgroupThreads), Places::kBytes, a);
  };
  run(WarpgroupKeyGradientKernel, shape.key_count(), shape.kv_heads);
  run(WarpgroupQueryGradientKernel, shape.length, shape.heads);
}

}  // namespace photon::cuda
