// What the kernels of attention over caches share: the call, which rows go together, and how shares of a row are added.
//
// Keys are cut into blocks of a fixed size that start at multiples of it. What a row gets of a block is computed by
// itself and then added to what it got of the blocks before, in their order: in one thread or by a second kernel, the
// bits are the same, and depend on nothing but the row's own sequence.
#pragma once

#include <cstdint>

#include "core/context.h"
#include "core/cuda/exponential.h"
#include "core/cuda/launch.h"
#include "core/dtype.h"
#include "core/ops/attention_heads.h"
#include "core/ops/cached_attention.h"
#include "simt.h"

namespace photon::cuda {

inline constexpr int kCachedSliceRows = 64;  // new rows a launch, where keys are cut: shares stay small in a prefill

template <typename T>
struct CachedCall {
  using A = AccumulateType<T>;
  T *q, *out;
  int64_t q_stride, out_stride;
  const int64_t *bases, *capacities;
  const int32_t* lengths;
  int layer, heads, kv_heads, head_dim;
  int64_t rows;      // new rows of a sequence,
  int first, count;  // of which this launch has [first, first + count)
  A scale;
  int splits;  // blocks of keys, one each to a block of threads, or 1: all to one
  A* sums;     // [sequences * count * heads, splits, head_dim]: of values, weighted by exp(score - largest)
  A* weights;  // [.., splits, 2]: the largest score, the sum of weights

  __device__ int64_t Row(int64_t sequence, int position) const { return sequence * rows + first + position; }
  __device__ int64_t Partial(int64_t sequence, int position, int head, int split) const {
    return ((sequence * count + position) * heads + head) * splits + split;
  }
  // Rows of kv_heads * head_dim; values come ValuesAfter elements later.
  __device__ T* Keys(int64_t sequence) const {
    return reinterpret_cast<T*>(bases[sequence]) + 2 * layer * ValuesAfter(sequence);
  }
  __device__ int64_t ValuesAfter(int64_t sequence) const { return capacities[sequence] * kv_heads * head_dim; }
};

// The query rows of one key/value head: row r is new row r / heads of query head first + r % heads.
struct QueryGroup {
  __device__ QueryGroup(int g, int all_heads, int kv_heads)
      : first(ops::FirstQueryHead(g, all_heads, kv_heads)),
        heads(ops::FirstQueryHead(g + 1, all_heads, kv_heads) - first) {}
  __device__ int position(int r) const { return r / heads; }
  __device__ int head(int r) const { return first + r % heads; }
  int first, heads;
};

// How what was summed so far and a further share are scaled to be added: largest scores first.
template <typename A>
struct Shares {
  A before, further;
};
template <typename A>
__device__ __forceinline__ Shares<A> Balance(A& largest, A further) {
  const A most = further > largest ? further : largest;
  const Shares<A> shares = {Exp(largest - most), Exp(further - most)};
  largest = most;
  return shares;
}
__device__ __forceinline__ float Add(float sum, float further, const Shares<float>& s) {
  return fmaf(sum, s.before, further * s.further);
}
__device__ __forceinline__ double Add(double sum, double further, const Shares<double>& s) {
  return fma(sum, s.before, further * s.further);
}

// Memory for the shares of call.splits blocks, put into `call`; keep it until all is queued.
template <typename T>
struct CachedShares {
  CachedShares(const Context& context, int64_t sequences, CachedCall<T>& call) {
    using A = AccumulateType<T>;
    const int64_t query_rows = sequences * call.count * call.heads;
    sums = context.Empty({query_rows, call.splits, call.head_dim}, DTypeOf<A>());
    weights = context.Empty({query_rows, call.splits, 2}, DTypeOf<A>());
    call.sums = sums.template data<A>();
    call.weights = weights.template data<A>();
  }
  Tensor sums, weights;
};
// Adds up the shares of blocks of `keys` keys.
template <typename T>
void AddShares(const Context& context, const CachedCall<T>& call, int64_t sequences, int keys);

// On tensor cores: bf16, heads of a multiple of 4 and at most 128. `longest` as in CacheTable.
bool CachedOnTensorCores(const CachedCall<BFloat16>& call);
void LaunchCachedMma(const Context& context, CachedCall<BFloat16> call, int64_t sequences, int64_t longest);

}  // namespace photon::cuda
