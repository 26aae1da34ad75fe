// Forward attention over long streams with Hopper's warpgroups (Shah et al. 2024, FlashAttention-3, without its copies
// by the tensor memory unit: rows of heads of 52 and 60 have no address that it takes).
//
// Of two neighbouring tiles of keys, the first one's values are added up while the second's scores become weights; and
// the tensor cores work for one warpgroup while the next computes weights, in turns. Every row's sums are taken in the
// order of keys and depend on no other row.
#include <cmath>

#include "core/cuda/attention_warpgroup.h"

namespace photon::cuda {
namespace {

template <int kPanels_>
struct Shape {
  static constexpr int kPanels = kPanels_;  // of a head
  static constexpr int kRows = kComputing * kWarpgroupRows, kKeys = 128;
  static constexpr int kScores = kKeys / 8, kSums = kPanels * kPanel / 8, kSteps = kPanels * kPanel / 16;  // tiles
  static constexpr int kQueryElements = kRows * kPanels * kPanel, kKeyElements = kKeys * kPanels * kPanel;
  using Tiles = Ring<3>;
  static constexpr size_t kShared =
      kSwizzleSlack + sizeof(Bits) * (kQueryElements + Tiles::kStages * 2 * kKeyElements) + sizeof(Tiles);
};

// Which warpgroup's turn it is to give the tensor cores work: barriers 1 to kComputing of the block, one a warpgroup.
struct Turns {
  int group;

  static constexpr int kTwo = 2 * kWarpgroup;  // who comes to a barrier: the one whose turn it is, and the one before
  __device__ __forceinline__ void Begin() const {
    if (group == kComputing - 1) Announce(1, kTwo);
  }
  __device__ __forceinline__ void Take() const { Meet(1 + group, kTwo); }
  // `last`: nobody waits for a turn after the last warpgroup's.
  __device__ __forceinline__ void Pass(bool last) const {
    if (!(last && group == kComputing - 1)) Announce(1 + (group + 1) % kComputing, kTwo);
  }
};

// One computing warpgroup's rows. `tiles` of the block.
template <typename S>
__device__ __forceinline__ void Compute(const StreamArguments& a, const StreamBlock& block, TileRange tiles,
                                        Bits* queries, const Bits* stages, typename S::Tiles& ring) {
  const int group = static_cast<int>(threadIdx.x) / kWarpgroup - 1, warp = static_cast<int>(threadIdx.x) / kWarp % 4;
  const int64_t begin = block.sequence * a.length;
  const StreamSpan span = a.SpanAt(begin);
  const int row = block.tile * S::kRows + group * kWarpgroupRows;                      // the warpgroup's first
  const int rows = a.length - row < kWarpgroupRows ? a.length - row : kWarpgroupRows;  // may be negative
  TileRange mine = rows > 0 ? KeyTiles(span, row, rows, S::kKeys) : TileRange{tiles.end, tiles.end};
  if (mine.begin < tiles.begin) mine.begin = tiles.begin;  // only where first_key falls, which it never should
  const float scale = a.scale * kLog2E;
  const Turns turns = {group};
  RingPlace<S::Tiles::kStages> place;
  const auto keys_at = [&](int stage) { return stages + stage * 2 * S::kKeyElements; };

  // Scores of the tile in place, begun.
  float scores[S::kScores][4], shrink[2];
  const auto begin_scores = [&] {
    OrderRegisters();
#pragma unroll
    for (int step = 0; step < S::kSteps; ++step) {
      Product(scores, RowsFactor<S::kRows>(queries, group * kWarpgroupRows, step),
              RowsFactor<S::kKeys>(keys_at(place.stage), 0, step), step > 0);
    }
    CommitProducts();
  };
  // Scores to weights.
  SoftmaxRows softmax[1];
  const auto weigh = [&](int tile) {
    const int key = tile * S::kKeys;
    if (AnyHidden(a.offset + row, span.FirstKey(row + rows - 1), key, S::kKeys)) {
      Hide(scores, span, row + 16 * warp, key, -INFINITY);
    }
    const bool grown = Grow(scores, scale, softmax[0], shrink);
    softmax[0].total[0] *= shrink[0];
    softmax[0].total[1] *= shrink[1];
    Weigh(scores, scale, softmax[0]);
    return grown;
  };
  // Tiles that other warpgroups see and this one does not.
  const auto pass_by = [&](int first, int last) {
#pragma unroll 1
    for (int tile = first; tile < last; ++tile) {
      turns.Take();
      turns.Pass(tile + 1 == tiles.end);
      Wait(&ring.full[place.stage], place.phase);
      GiveBack(ring, place.stage);
      place.Advance();
    }
  };

  float out[S::kSums][4];
  Clear(out);
  uint32_t weights[S::kScores / 2][4];
  Wait(&ring.own, 0);
  turns.Begin();
  pass_by(tiles.begin, mine.begin);
  if (mine.begin < mine.end) {
    Wait(&ring.full[place.stage], place.phase);
    turns.Take();
    begin_scores();
    turns.Pass(mine.begin + 1 == tiles.end);
    WaitForProducts<0>(scores);
    weigh(mine.begin);
    PackLeft(weights, scores);
  }
#pragma unroll 1
  for (int tile = mine.begin + 1; tile < mine.end; ++tile) {
    const int before = place.stage;
    place.Advance();
    Wait(&ring.full[place.stage], place.phase);
    turns.Take();
    begin_scores();
    AddProduct<S::kKeys, S::kScores>(out, weights, keys_at(before) + S::kKeyElements);
    CommitProducts();
    turns.Pass(tile + 1 == tiles.end);
    WaitForProducts<1>(scores);
    const bool grown = weigh(tile);
    if (S::kPanels == 1) {  // of wider heads, products take longer than weights
      ComputeFirst(softmax[0].total[0]);
      ComputeFirst(softmax[0].total[1]);
    }
    WaitForProducts<0>(out);
    GiveBack(ring, before);
    if (__ballot_sync(kAllLanes, grown) != 0) Shrink(out, shrink);  // else all factors are 1
    PackLeft(weights, scores);
  }
  if (mine.begin < mine.end) {
    OrderRegisters();
    AddProduct<S::kKeys, S::kScores>(out, weights, keys_at(place.stage) + S::kKeyElements);
    CommitProducts();
    WaitForProducts<0>(out);
    GiveBack(ring, place.stage);
    place.Advance();
  }
  pass_by(mine.end, tiles.end);

  float inverse[1][2];
  EndSoftmax(a, softmax, block.head, begin + row + 16 * warp, rows - 16 * warp, inverse);
  // By way of the warp's own queries, which no warp of the warpgroup multiplies with any more.
  Meet(1 + kComputing + group, kWarpgroup);
  const int first = group * kWarpgroupRows + 16 * warp;
#pragma unroll
  for (int p = 0; p < S::kPanels; ++p) {
    float panel[1][kPanel / 8][4];
#pragma unroll
    for (int i = 0; i < kPanel / 2; ++i) panel[0][i / 4][i % 4] = out[p * kPanel / 8 + i / 4][i % 4];
    StoreSums<kPanel, 1>(panel, inverse, queries + PanelElement<S::kRows>(0, p * kPanel), first,
                         a.out.At(begin + block.tile * S::kRows, int64_t{block.head} * a.head_dim + p * kPanel),
                         a.length - block.tile * S::kRows, a.head_dim - p * kPanel, a.piece);
  }
}

template <typename S>
__global__ void __launch_bounds__(kWarpgroupThreads, 1) WarpgroupForwardKernel(const StreamArguments a) {
  if (!kHasWarpgroups) {
    __trap();
  } else {
    Bits* const queries = SwizzledShared<Bits>();
    Bits* const stages = queries + S::kQueryElements;  // [..][keys, values]
    auto& ring = *reinterpret_cast<typename S::Tiles*>(stages + S::Tiles::kStages * 2 * S::kKeyElements);
    const StreamBlock block = StreamBlockOf(blockIdx.x, a.tiles, a.heads, /*last_tile_first=*/true);
    const int64_t begin = block.sequence * a.length;
    const StreamSpan span = a.SpanAt(begin);
    const int block_row = block.tile * S::kRows;
    const TileRange tiles = KeyTiles(span, block_row, S::kRows, S::kKeys);
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
            CopyPanels<S::kPanels, S::kRows>(queries, a.q.At(begin + block_row, int64_t{block.head} * a.head_dim),
                                             a.length - block_row, a.head_dim, a.piece);
          },
          [&](int step, int stage) {
            Bits* const keys = stages + stage * 2 * S::kKeyElements;
            const int key = (tiles.begin + step) * S::kKeys, count = span.seen_keys() - key;
            CopyPanels<S::kPanels, S::kKeys>(keys, k.At(key, 0), count, a.head_dim, a.piece);
            CopyPanels<S::kPanels, S::kKeys>(keys + S::kKeyElements, v.At(key, 0), count, a.head_dim, a.piece);
          });
    } else {
      TakeRegisters<kComputingRegisters>();
      Compute<S>(a, block, tiles, queries, stages, ring);
    }
  }
}

template <typename S>
void Run(const Context& context, StreamArguments a, const ops::AttentionShape& shape) {
  a.tiles = TilesOf(shape.length, S::kRows);
  const int64_t blocks = shape.batch * shape.heads * a.tiles;
  Launch(context, "attention_forward", WarpgroupForwardKernel<S>, dim3(static_cast<unsigned>(blocks)),
         dim3(kWarpgroupThreads), S::kShared, a);
}

}  // namespace

void StreamForwardWarpgroup(const Context& context, const Tensor& q, const Tensor& k, const Tensor& v,
                            const ops::AttentionShape& shape, const Tensor& out, const Tensor& lse) {
  const StreamArguments a = ForwardArgumentsOf(q, k, v, shape, out, lse);
  (shape.head_dim <= kPanel ? Run<Shape<1>> : Run<Shape<2>>)(context, a, shape);
}

}  // namespace photon::cuda
