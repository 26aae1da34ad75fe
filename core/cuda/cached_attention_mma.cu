// Attention of new rows over caches on tensor cores, for decoding (flash-decoding, Dao et al. 2023) and for prompts.
#include "core/cuda/cached_attention_rows.h"
#include "core/cuda/queue.h"

namespace photon::cuda {
namespace {

// Grid: [tiles of query rows of every key/value head of every sequence, splits].
template <typename S>
__global__ void __launch_bounds__(kStreamThreads, S::kResident)
    CachedMmaKernel(const CachedCall<BFloat16> call, int tiles) {
  Bits* const stages = DynamicShared<Bits>();  // [..][keys, values]
  const int64_t head = blockIdx.x / tiles, sequence = head / call.kv_heads;
  const int g = static_cast<int>(head % call.kv_heads), tile = static_cast<int>(blockIdx.x % tiles);
  const QueryGroup group(g, call.heads, call.kv_heads);
  const int rows = call.count * group.heads, begin = tile * S::kRows;
  const int end = begin + S::kRows < rows ? begin + S::kRows : rows;
  if (begin >= end) return;
  const int before = call.lengths[sequence] + call.first + 1;  // row i sees `before` + i keys
  const int seen = before + group.position(end - 1);
  const int first_block = call.splits == 1 ? 0 : blockIdx.y;
  const int last_block = call.splits == 1 ? (seen - 1) / S::kKeys : first_block;
  if (first_block * S::kKeys >= seen) return;

  const int64_t stride = int64_t{call.kv_heads} * call.head_dim;
  const StreamRows keys = {reinterpret_cast<Bits*>(call.Keys(sequence)) + g * call.head_dim, stride};
  const StreamRows values = {keys.data + call.ValuesAfter(sequence), stride};
  const auto copy = [&](int block) {
    Bits* const stage = stages + block % S::kStages * 2 * S::kElements;
    const int key = block * S::kKeys;
    CopyPieces<S::kWidth, S::kKeys, S::kPiece>(stage, keys.At(key, 0), seen - key, call.head_dim);
    CopyPieces<S::kWidth, S::kKeys, S::kPiece>(stage + S::kElements, values.At(key, 0), seen - key, call.head_dim);
    CopyAsyncCommit();
  };
  copy(first_block);
  const int row = begin + (S::kMany ? static_cast<int>(threadIdx.x) / kWarp * 16 : 0);  // the warp's first
  typename S::Left queries;
  LoadQueries<S>(queries, call, group, sequence, row, end);
  int sees[2];
  KeysSeen(group, row, end, before, sees);

  CachedRowSums<S> sum;
  if constexpr (S::kMany) {
#pragma unroll 1
    for (int block = first_block; block <= last_block; ++block) {
      CopyAsyncWait<0>();
      __syncthreads();
      if (block < last_block) copy(block + 1);
      const int visible[2] = {sees[0] - block * S::kKeys, sees[1] - block * S::kKeys};
      sum.AddBlock(call, queries, stages + block % S::kStages * 2 * S::kElements, visible);
    }
  } else {
    CopyAsyncWait<0>();
    __syncthreads();
    const int visible[2] = {sees[0] - first_block * S::kKeys, sees[1] - first_block * S::kKeys};
    sum.SetBlock(call, queries, stages, visible);
  }

  sum.Write(call, group, sequence, row, end, first_block);
}

// For windows: caches that hold no more than a quarter of a block of keys; the other quarters would add zeros. A warp
// has 16 query rows of one key/value head of one sequence. Grid: [tiles of query rows of all, in fours].
template <typename S>
__global__ void __launch_bounds__(kStreamThreads, S::kResident)
    CachedShortKernel(const CachedCall<BFloat16> call, int tiles, int64_t heads) {
  constexpr int kElements = S::kQuarter * S::kWidth, kVector = S::kPiece / static_cast<int>(sizeof(Bits));
  const int warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
  Bits* const keys = DynamicShared<Bits>() + warp * 2 * kElements;  // then values
  const int64_t own = int64_t{blockIdx.x} * kStreamWarps + warp, head = own / tiles;
  if (head >= heads) return;
  const int64_t sequence = head / call.kv_heads;
  const int g = static_cast<int>(head % call.kv_heads);
  const QueryGroup group(g, call.heads, call.kv_heads);
  const int rows = call.count * group.heads, row = static_cast<int>(own % tiles) * S::kRows;
  const int end = row + S::kRows < rows ? row + S::kRows : rows;
  if (row >= end) return;
  const int before = call.lengths[sequence] + 1, seen = before + group.position(end - 1);
  const int64_t stride = int64_t{call.kv_heads} * call.head_dim;
  const Bits* const cached = reinterpret_cast<const Bits*>(call.Keys(sequence)) + g * call.head_dim;
  for (int i = lane; i < (seen + 15) / 16 * 16 * (S::kWidth / kVector); i += kWarp) {
    const int key = i / (S::kWidth / kVector), column = i % (S::kWidth / kVector) * kVector;
    const bool real = key < seen && column < call.head_dim;
    const Bits* const from = real ? cached + key * stride + column : cached;
    CopyAsync<S::kPiece>(keys + TileElement<S::kWidth>(key, column), from, real);
    CopyAsync<S::kPiece>(keys + kElements + TileElement<S::kWidth>(key, column),
                         real ? from + call.ValuesAfter(sequence) : cached, real);
  }
  CopyAsyncCommit();
  typename S::Left queries;
  LoadQueries<S>(queries, call, group, sequence, row, end);
  int visible[2];
  KeysSeen(group, row, end, before, visible);
  CopyAsyncWait<0>();
  __syncwarp();
  CachedRowSums<S> sum;
  sum.SetShort(call, queries, keys, keys + kElements, visible, seen);
  sum.Write(call, group, sequence, row, end, 0);
}

template <int kWidth, int kPiece>
void LaunchWidth(const Context& context, CachedCall<BFloat16> call, int64_t sequences, int64_t longest) {
  using Many = CachedShape<kWidth, kPiece, CachedRows::kMany>;
  using Few = CachedShape<kWidth, kPiece, CachedRows::kFew>;
  using Short = CachedShape<kWidth, kPiece, CachedRows::kShort>;
  const int most_heads = (call.heads + call.kv_heads - 1) / call.kv_heads;
  const int64_t heads = sequences * call.kv_heads;
  const auto launch = [&](auto shape) {
    using S = decltype(shape);
    const int64_t tiles = CeilDiv(int64_t{call.count} * most_heads, S::kRows);
    Launch(context, "cached_attention", CachedMmaKernel<S>,
           dim3(static_cast<unsigned>(heads * tiles), static_cast<unsigned>(call.splits)), dim3(kStreamThreads),
           S::kShared, call, static_cast<int>(tiles));
  };
  const auto launch_rows = [&] { int64_t{call.count} * most_heads > Few::kRows ? launch(Many()) : launch(Few()); };
  call.splits = 1;
  call.count = static_cast<int>(call.rows);
  if (longest <= Short::kQuarter) {
    const int64_t tiles = CeilDiv(call.rows * most_heads, Short::kRows);
    Launch(context, "cached_attention", CachedShortKernel<Short>,
           dim3(static_cast<unsigned>(CeilDiv(heads * tiles, kStreamWarps))), dim3(kStreamThreads), Short::kShared,
           call, static_cast<int>(tiles), heads);
    return;
  }
  // One block of threads walks over all keys of its rows where there are blocks enough.
  const int64_t blocks = heads * CeilDiv(call.rows * most_heads, Many::kRows);
  if (longest <= Many::kKeys || (call.rows * most_heads > Few::kRows && blocks >= QueueOf(context).multiprocessors)) {
    return launch_rows();
  }
  call.splits = static_cast<int>(CeilDiv(longest, Many::kKeys));
  for (int64_t first = 0; first < call.rows; first += kCachedSliceRows) {
    call.first = static_cast<int>(first);
    call.count = static_cast<int>(std::min<int64_t>(kCachedSliceRows, call.rows - first));
    const CachedShares<BFloat16> shares(context, sequences, call);
    launch_rows();
    AddShares(context, call, sequences, Many::kKeys);
  }
}

}  // namespace

bool CachedOnTensorCores(const CachedCall<BFloat16>& call) {
  const auto whole = [](const BFloat16* data, int64_t stride) {
    return reinterpret_cast<uintptr_t>(data) % 4 == 0 && stride % 2 == 0;
  };
  return call.head_dim % 4 == 0 && call.head_dim <= 128 && whole(call.q, call.q_stride) &&
         whole(call.out, call.out_stride);
}

void LaunchCachedMma(const Context& context, CachedCall<BFloat16> call, int64_t sequences, int64_t longest) {
  const bool whole = call.head_dim % 8 == 0;  // caches begin where the allocator lets blocks begin
  const auto launch = call.head_dim <= 64 ? (whole ? LaunchWidth<64, 16> : LaunchWidth<64, 8>)
                                          : (whole ? LaunchWidth<128, 16> : LaunchWidth<128, 8>);
  launch(context, call, sequences, longest);
}

}  // namespace photon::cuda
