// Attention of new rows over caches, split over keys (flash-decoding, Dao et al. 2023), for what tensor cores do not
// take (cached_attention_mma.cu): f32, f64 and odd heads. One block takes one key/value head's block of keys of one
// sequence: keys and values go from memory to registers once, all at the start, and serve all query heads and new
// rows, which are few.
#include <cmath>
#include <limits>
#include <optional>

#include "core/cuda/cached_attention.h"
#include "core/cuda/cached_attention_map.h"
#include "core/cuda/kernels.h"
#include "core/cuda/launch.h"
#include "core/cuda/vector.h"
#include "core/cuda/warp.h"

namespace photon::cuda {
namespace {

constexpr int kTileRows = 128;  // query rows that share one reading of the keys
constexpr int kCombineThreads = 128;

template <typename T, typename Map>
struct KeyBlock {
  using Vector = Raw<T, Map::kElements>;
  Vector keys[Map::kPasses][Map::kChunks], values[Map::kPasses][Map::kChunks];

  // Positions from `key` on; zeros from `end` on.
  __device__ __forceinline__ void Load(const T* base, int64_t values_at, int64_t stride, int head_dim, int64_t key,
                                       int64_t end, int warp, int lane) {
#pragma unroll
    for (int side = 0; side < 2; ++side) {
#pragma unroll
      for (int pass = 0; pass < Map::kPasses; ++pass) {
        const int64_t at = key + Map::Key(warp, lane, pass);
#pragma unroll
        for (int c = 0; c < Map::kChunks; ++c) {
          Vector& v = side == 0 ? keys[pass][c] : values[pass][c];
          v = {};
          const int column = Map::Column(lane, c);
          if (at < end && column < head_dim) v.Load(base + side * values_at + at * stride + column);
        }
      }
    }
  }
};

// Grid: [sequences * kv_heads, splits, tiles of query rows]. Rows: query rows at a time.
template <typename T, typename Map, int Warps, int Rows>
__global__ void __launch_bounds__(Warps* kWarp) CachedBlocks(CachedCall<T> call) {
  using A = AccumulateType<T>;
  constexpr int kKeys = Warps * Map::kWarpKeys, kColumns = Map::kElements * Map::kChunks;
  constexpr A kNone = -std::numeric_limits<A>::infinity();
  __shared__ A scores[Rows][kKeys];
  __shared__ A largest[Rows], weight[Rows];
  __shared__ A parts[Warps][Rows][Map::kWidth];
  const int warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp, d = call.head_dim;
  const int64_t sequence = blockIdx.x / call.kv_heads;
  const int g = blockIdx.x % call.kv_heads, split = blockIdx.y;
  const QueryGroup group(g, call.heads, call.kv_heads);
  const int begin = blockIdx.z * kTileRows, rows = call.count * group.heads;
  const int end = begin + kTileRows < rows ? begin + kTileRows : rows;
  if (begin >= end) return;
  const int64_t before = call.lengths[sequence] + call.first + 1;  // row i sees `before` + i keys
  const int64_t key = int64_t{split} * kKeys;
  const int64_t seen = before + group.position(end - 1);
  if (key >= seen) return;

  KeyBlock<T, Map> block;
  const int64_t stride = int64_t{call.kv_heads} * d;
  block.Load(call.Keys(sequence) + g * d, call.ValuesAfter(sequence), stride, d, key, seen, warp, lane);

  for (int row = begin; row < end; row += Rows) {
    A q[Rows][kColumns];
#pragma unroll
    for (int r = 0; r < Rows; ++r) {
      const T* from = nullptr;
      if (row + r < end) {
        from = call.q + call.Row(sequence, group.position(row + r)) * call.q_stride + group.head(row + r) * d;
      }
#pragma unroll
      for (int c = 0; c < Map::kChunks; ++c) {
        const int column = Map::Column(lane, c);
#pragma unroll
        for (int e = 0; e < Map::kElements; ++e) {
          q[r][c * Map::kElements + e] =
              from != nullptr && column < d ? static_cast<A>(from[column + e]) * call.scale : A(0);
        }
      }
    }
#pragma unroll
    for (int pass = 0; pass < Map::kPasses; ++pass) {
      A sum[Rows] = {};
#pragma unroll
      for (int c = 0; c < Map::kChunks; ++c) {
        A values[Map::kElements];
        block.keys[pass][c].Unpack(values);
#pragma unroll
        for (int r = 0; r < Rows; ++r) {
#pragma unroll
          for (int e = 0; e < Map::kElements; ++e) sum[r] += q[r][c * Map::kElements + e] * values[e];
        }
      }
      const int at = Map::Key(warp, lane, pass);
#pragma unroll
      for (int r = 0; r < Rows; ++r) {
        sum[r] = WarpSum<Map::kLanes>(sum[r]);
        const bool visible = row + r < end && key + at < before + group.position(row + r);
        if (lane % Map::kLanes == 0) scores[r][at] = visible ? sum[r] : kNone;
      }
    }
    __syncthreads();
    for (int r = warp; r < Rows; r += Warps) {
      A most = kNone;
      for (int i = lane; i < kKeys; i += kWarp) most = scores[r][i] > most ? scores[r][i] : most;
      most = WarpMax(most);
      A sum = 0;
      for (int i = lane; i < kKeys; i += kWarp) {
        const A p = scores[r][i] == kNone ? A(0) : Exp(scores[r][i] - most);  // NaN stays NaN
        scores[r][i] = p;
        sum += p;
      }
      sum = WarpSum(sum);
      if (lane == 0) {
        largest[r] = most;
        weight[r] = sum;
      }
    }
    __syncthreads();
    A sums[Rows][kColumns] = {};
#pragma unroll
    for (int pass = 0; pass < Map::kPasses; ++pass) {
      const int at = Map::Key(warp, lane, pass);
#pragma unroll
      for (int c = 0; c < Map::kChunks; ++c) {
        A values[Map::kElements];
        block.values[pass][c].Unpack(values);
#pragma unroll
        for (int r = 0; r < Rows; ++r) {
          const A p = scores[r][at];
#pragma unroll
          for (int e = 0; e < Map::kElements; ++e) sums[r][c * Map::kElements + e] += p * values[e];
        }
      }
    }
#pragma unroll
    for (int r = 0; r < Rows; ++r) {
#pragma unroll
      for (int c = 0; c < Map::kChunks; ++c) {
#pragma unroll
        for (int e = 0; e < Map::kElements; ++e) {
          A& sum = sums[r][c * Map::kElements + e];
#pragma unroll
          for (int step = Map::kLanes; step < kWarp; step *= 2) sum += __shfl_xor_sync(kAllLanes, sum, step);
          if (lane < Map::kLanes) parts[warp][r][Map::Column(lane, c) + e] = sum;
        }
      }
    }
    __syncthreads();
    for (int i = threadIdx.x; i < Rows * d; i += Warps * kWarp) {
      const int r = i / d, column = i % d;
      if (row + r >= end) break;
      A sum = parts[0][r][column];
#pragma unroll
      for (int w = 1; w < Warps; ++w) sum += parts[w][r][column];
      const int position = group.position(row + r), head = group.head(row + r);
      if (call.splits == 1) {
        call.out[call.Row(sequence, position) * call.out_stride + head * d + column] = T(sum / weight[r]);
        continue;
      }
      const int64_t partial = call.Partial(sequence, position, head, split);
      call.sums[partial * d + column] = sum;
      if (column == 0) {
        call.weights[2 * partial] = largest[r];
        call.weights[2 * partial + 1] = weight[r];
      }
    }
    __syncthreads();
  }
}

// A warp a query row: adds up its blocks' shares in order. keys: of a block.
template <typename T>
__global__ void __launch_bounds__(kCombineThreads) CombineBlocks(CachedCall<T> call, int64_t query_rows, int keys) {
  using A = AccumulateType<T>;
  const int64_t index = (int64_t{blockIdx.x} * kCombineThreads + threadIdx.x) / kWarp;
  if (index >= query_rows) return;
  const int lane = threadIdx.x % kWarp, head = static_cast<int>(index % call.heads), d = call.head_dim;
  const int position = static_cast<int>(index / call.heads % call.count);
  const int64_t sequence = index / call.heads / call.count;
  const int64_t seen = call.lengths[sequence] + call.first + position + 1;
  const int blocks = static_cast<int>((seen + keys - 1) / keys);
  const A* weights = call.weights + 2 * index * call.splits;
  const A* sums = call.sums + index * call.splits * d;
  for (int column = lane; column < d; column += kWarp) {
    A largest = weights[0], weight = weights[1], sum = sums[column];
#pragma unroll 8
    for (int i = 1; i < blocks; ++i) {
      const Shares<A> shares = Balance(largest, weights[2 * i]);
      weight = Add(weight, weights[2 * i + 1], shares);
      sum = Add(sum, sums[int64_t{i} * d + column], shares);
    }
    call.out[call.Row(sequence, position) * call.out_stride + head * d + column] = T(sum / weight);
  }
}

template <typename T, typename Map, int Warps, int Rows>
void LaunchBlocks(const Context& context, CachedCall<T> call, int64_t sequences, int64_t longest) {
  constexpr int kKeys = Warps * Map::kWarpKeys;
  const int most_heads = (call.heads + call.kv_heads - 1) / call.kv_heads;
  for (int64_t first = 0; first < call.rows; first += kCachedSliceRows) {
    call.first = static_cast<int>(first);
    call.count = static_cast<int>(std::min<int64_t>(kCachedSliceRows, call.rows - first));
    call.splits = static_cast<int>(CeilDiv(longest, kKeys));
    std::optional<CachedShares<T>> shares;
    if (call.splits > 1) shares.emplace(context, sequences, call);
    const dim3 grid(static_cast<unsigned>(sequences * call.kv_heads), static_cast<unsigned>(call.splits),
                    static_cast<unsigned>(CeilDiv(int64_t{call.count} * most_heads, kTileRows)));
    Launch(context, "cached_attention", CachedBlocks<T, Map, Warps, Rows>, grid, Warps * kWarp, 0, call);
    if (call.splits > 1) AddShares(context, call, sequences, kKeys);
  }
}

// One warp where a warp's keys are all there can be, as in windows; the others would add zeros.
template <typename T, typename Map>
void LaunchMap(const Context& context, const CachedCall<T>& call, int64_t sequences, int64_t longest) {
  const bool single = call.rows == 1 && call.heads == call.kv_heads;
  if constexpr (Map::kElements == 1) {
    LaunchBlocks<T, Map, Map::kWarps, 1>(context, call, sequences, longest);
  } else if (longest <= Map::kWarpKeys) {
    single ? LaunchBlocks<T, Map, 1, 1>(context, call, sequences, longest)
           : LaunchBlocks<T, Map, 1, 4>(context, call, sequences, longest);
  } else {
    single ? LaunchBlocks<T, Map, Map::kWarps, 1>(context, call, sequences, longest)
           : LaunchBlocks<T, Map, Map::kWarps, 4>(context, call, sequences, longest);
  }
}

// Some 64 registers a thread for keys and values, all in flight at once: a block has 32 KiB under way. Heads that no
// vector divides, and f64, go element by element.
template <typename T>
void LaunchCached(const Context& context, const CachedCall<T>& call, int64_t sequences, int64_t longest) {
  const int d = call.head_dim;
  const auto launch = [&](auto map) { LaunchMap<T, decltype(map)>(context, call, sequences, longest); };
  if constexpr (std::is_same_v<T, BFloat16>) {
    if (CachedOnTensorCores(call)) return LaunchCachedMma(context, call, sequences, longest);
    if (d % 8 == 0 && d > 64 && d <= 256) return launch(CachedMap<8, 1, 32, 8>());
  } else if constexpr (std::is_same_v<T, float>) {
    if (d % 4 == 0 && d <= 64) return launch(CachedMap<4, 1, 16, 8>());
    if (d % 4 == 0 && d <= 128) return launch(CachedMap<4, 1, 32, 8>());
  }
  if (d <= 64) return launch(CachedMap<1, 2, 32, 4>());
  PHOTON_CHECK(d <= 256) << "[cached_attention] head_dim " << d << " on CUDA: at most 256";
  launch(CachedMap<1, 8, 32, 1>());
}

// Grid: [rows, parts of a row]. A thread has elements i and i + head_dim / 2 of one head.
template <typename T>
__global__ void __launch_bounds__(256)
    AppendRows(T* qkv, int64_t qkv_stride, const int64_t* bases, const int64_t* capacities, const int32_t* lengths,
               int layer, int64_t rows, int heads, int kv_heads, int head_dim, const AccumulateType<T>* angles) {
  using A = AccumulateType<T>;
  const int half = head_dim / 2;
  const int item = blockIdx.y * 256 + threadIdx.x;
  if (item >= (heads + 2 * kv_heads) * half) return;
  const int head = item / half, i = item % half;
  const int64_t row = blockIdx.x, sequence = row / rows, position = lengths[sequence] + row % rows;
  T* at = qkv + row * qkv_stride + int64_t{head} * head_dim + i;
  T first = at[0], second = at[half];
  if (head < heads + kv_heads) {
    const A c = angles[position * head_dim + i], s = angles[position * head_dim + half + i];
    const A x = static_cast<A>(first), y = static_cast<A>(second);
    first = T(x * c - y * s);
    second = T(y * c + x * s);
    at[0] = first;
    at[half] = second;
  }
  if (head < heads) return;
  const int side = head < heads + kv_heads ? 0 : 1, own = head - heads - side * kv_heads;
  T* cache = reinterpret_cast<T*>(bases[sequence]) +
             ((2 * layer + side) * capacities[sequence] + position) * kv_heads * head_dim + own * head_dim + i;
  cache[0] = first;
  cache[half] = second;
}

}  // namespace

template <typename T>
void AddShares(const Context& context, const CachedCall<T>& call, int64_t sequences, int keys) {
  const int64_t query_rows = sequences * call.count * call.heads;
  Launch(context, "cached_attention", CombineBlocks<T>,
         static_cast<unsigned>(CeilDiv(query_rows, kCombineThreads / kWarp)), kCombineThreads, 0, call, query_rows,
         keys);
}
template void AddShares(const Context&, const CachedCall<BFloat16>&, int64_t, int);

void AppendToCaches(const Context& context, const Tensor& qkv, const ops::CacheTable& table,
                    const ops::AttentionShape& shape, const Tensor& rope_table) {
  VisitFloat(qkv.dtype(), [&](auto tag) {
    using T = decltype(tag);
    const int d = static_cast<int>(shape.head_dim);
    const int items = (shape.heads + 2 * shape.kv_heads) * d / 2;
    const dim3 grid(static_cast<unsigned>(qkv.dim(0)), static_cast<unsigned>(CeilDiv(items, 256)));
    Launch(context, "append_to_caches", AppendRows<T>, grid, 256, 0, qkv.data<T>(), qkv.stride(0),
           table.bases.data<int64_t>(), table.capacities.data<int64_t>(), table.lengths.data<int32_t>(), table.layer,
           table.rows, shape.heads, shape.kv_heads, d, rope_table.data<AccumulateType<T>>());
  });
}

// Rows of [capacity, kv_heads * head_dim], a key side and a value side a layer.
void CopyCache(const Context& context, const Tensor& from, const Tensor& to, int64_t positions, int64_t /*head_dim*/) {
  const auto first = [&](const Tensor& block) {
    return block.Reshape({2 * block.dim(0), block.dim(2) * block.dim(3)}).Columns(0, positions * block.dim(3));
  };
  Cast(context, first(from), first(to));
}

void CachedAttention(const Context& context, const Tensor& q, const ops::CacheTable& table,
                     const ops::AttentionShape& shape, const Tensor& out) {
  VisitFloat(q.dtype(), [&](auto tag) {
    using T = decltype(tag);
    using A = AccumulateType<T>;
    const CachedCall<T> call = {.q = q.data<T>(),
                                .out = out.data<T>(),
                                .q_stride = q.stride(0),
                                .out_stride = out.stride(0),
                                .bases = table.bases.data<int64_t>(),
                                .capacities = table.capacities.data<int64_t>(),
                                .lengths = table.lengths.data<int32_t>(),
                                .layer = table.layer,
                                .heads = shape.heads,
                                .kv_heads = shape.kv_heads,
                                .head_dim = static_cast<int>(shape.head_dim),
                                .rows = table.rows,
                                .first = 0,
                                .count = 0,
                                .scale = 1 / std::sqrt(static_cast<A>(shape.head_dim)),
                                .splits = 1,
                                .sums = nullptr,
                                .weights = nullptr};
    LaunchCached<T>(context, call, table.bases.dim(0), table.longest);
  });
}

}  // namespace photon::cuda
