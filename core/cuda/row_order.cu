// Each pass of the radix sort is two kernels: every block counts the digits of its own stretch of the input; then every
// block finds out from all counts where its digits go, and moves them there in order. No block waits for another.
#include "core/cuda/launch.h"
#include "core/cuda/row_order.h"
#include "core/cuda/scan.h"

namespace photon::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / kWarp;
constexpr int kRounds = 8;                  // elements of a thread in a chunk
constexpr int kChunk = kThreads * kRounds;  // elements that a block moves at a time
constexpr int64_t kMostBlocks = 64;         // each reads the counts of all

// What a pass reads: the index itself, or what the last pass left.
struct Source {
  const int32_t* index;
  const KeyedPosition* sorted;  // null: the first pass
  RowKeys keys;

  __device__ __forceinline__ KeyedPosition operator()(int64_t i) const {
    return sorted != nullptr ? sorted[i] : KeyedPosition{keys.Of(index[i]), static_cast<uint32_t>(i)};
  }
};

struct Digit {
  int shift, bits;
  __device__ __forceinline__ int count() const { return 1 << bits; }
  __device__ __forceinline__ uint32_t Of(uint32_t key) const { return (key >> shift) & ((1u << bits) - 1); }
};

// counts [blocks, digits]
__global__ void __launch_bounds__(kThreads)
    CountDigitsKernel(Source source, int64_t n, int64_t per_block, Digit digit, uint32_t* counts) {
  uint32_t* own = DynamicShared<uint32_t>();  // [digits]
  for (int d = threadIdx.x; d < digit.count(); d += kThreads) own[d] = 0;
  __syncthreads();
  const int64_t begin = blockIdx.x * per_block, end = min(n, begin + per_block);
#pragma unroll 4
  for (int64_t i = begin + threadIdx.x; i < end; i += kThreads) atomicAdd(&own[digit.Of(source(i).key)], 1u);
  __syncthreads();
  for (int d = threadIdx.x; d < digit.count(); d += kThreads) counts[int64_t{blockIdx.x} * digit.count() + d] = own[d];
}

// starts[d] = where this block's first element of digit d goes. `sums`: scratch for [digits].
__device__ void FindStarts(const uint32_t* counts, Digit digit, uint32_t* starts, uint32_t* sums, uint32_t* scratch) {
  const int digits = digit.count();
  for (int d = threadIdx.x; d < digits; d += kThreads) {
    uint32_t before = 0, all = 0;
#pragma unroll 8
    for (unsigned block = 0; block < gridDim.x; ++block) {
      const uint32_t count = counts[int64_t{block} * digits + d];
      before += block < blockIdx.x ? count : 0;
      all += count;
    }
    starts[d] = before;
    sums[d] = all;
  }
  __syncthreads();
  const int per_thread = (digits + kThreads - 1) / kThreads;
  const int first = min(static_cast<int>(threadIdx.x) * per_thread, digits), last = min(first + per_thread, digits);
  uint32_t own = 0, total;
  for (int d = first; d < last; ++d) own += sums[d];
  uint32_t lower = BlockExclusiveSum(own, scratch, &total);
  for (int d = first; d < last; ++d) {
    starts[d] += lower;
    lower += sums[d];
  }
  __syncthreads();
}

// The lanes whose digit is this lane's, of the `valid` ones.
__device__ __forceinline__ unsigned LanesOfDigit(uint32_t digit, int bits, bool valid) {
  unsigned same = __ballot_sync(kAllLanes, valid);
  for (int bit = 0; bit < bits; ++bit) {
    const bool set = (digit >> bit) & 1;
    const unsigned with = __ballot_sync(kAllLanes, set);
    same &= set ? with : ~with;
  }
  return same;
}

__global__ void __launch_bounds__(kThreads)
    MoveKernel(Source source, int64_t n, int64_t per_block, Digit digit, const uint32_t* counts, KeyedPosition* out) {
  __shared__ uint32_t scratch[kWarps];
  const int digits = digit.count();
  uint32_t* starts = DynamicShared<uint32_t>();  // [digits]: where the block's next element goes
  uint32_t* seen = starts + digits;              // [kWarps, digits]: by each warp in this chunk
  FindStarts(counts, digit, starts, seen, scratch);
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  uint32_t* own = seen + warp * digits;
  const int64_t begin = blockIdx.x * per_block, end = min(n, begin + per_block);
  for (int64_t chunk = begin; chunk < end; chunk += kChunk) {
    for (int d = threadIdx.x; d < kWarps * digits; d += kThreads) seen[d] = 0;
    __syncthreads();
    // A warp's elements are neighbours: their order is rounds, then lanes.
    const int64_t first = chunk + warp * (kWarp * kRounds) + lane;
    KeyedPosition moved[kRounds];
    uint32_t rank[kRounds];
#pragma unroll
    for (int r = 0; r < kRounds; ++r) {
      const int64_t i = first + r * kWarp;
      moved[r] = i < end ? source(i) : KeyedPosition{};
    }
#pragma unroll
    for (int r = 0; r < kRounds; ++r) {
      const bool valid = first + r * kWarp < end;
      const uint32_t d = digit.Of(moved[r].key);
      const unsigned same = LanesOfDigit(d, digit.bits, valid);
      const uint32_t before = own[d];
      __syncwarp();
      rank[r] = before + __popc(same & ((1u << lane) - 1));
      if (valid && (same >> lane) == 1) own[d] = before + __popc(same);  // the last of them
      __syncwarp();
    }
    __syncthreads();
    for (int d = threadIdx.x; d < digits; d += kThreads) {
      uint32_t next = starts[d];
      for (int w = 0; w < kWarps; ++w) {
        const uint32_t count = seen[w * digits + d];
        seen[w * digits + d] = next;
        next += count;
      }
      starts[d] = next;
    }
    __syncthreads();
#pragma unroll
    for (int r = 0; r < kRounds; ++r) {
      if (first + r * kWarp < end) out[own[digit.Of(moved[r].key)] + rank[r]] = moved[r];
    }
    __syncthreads();
  }
}

}  // namespace

Tensor SortByRow(const Context& context, const char* operation, const Tensor& index, const RowKeys& keys) {
  const int64_t n = index.dim(0);
  const RadixPlan plan = RadixPlan::For(keys.none());
  const int64_t per_block = CeilDiv(CeilDiv(n, kChunk), kMostBlocks) * kChunk;
  const auto blocks = static_cast<unsigned>(CeilDiv(n, per_block));
  const int digits = 1 << plan.bits;
  const Tensor counts = context.Empty({blocks, digits}, DType::kI32);
  Tensor from, to = context.Empty({n, 2}, DType::kI32);
  if (plan.passes > 1) from = context.Empty({n, 2}, DType::kI32);
  auto* count = reinterpret_cast<uint32_t*>(counts.data<int32_t>());
  Source source = {index.data<int32_t>(), nullptr, keys};
  for (int pass = 0; pass < plan.passes; ++pass) {
    const Digit digit = {pass * plan.bits, plan.bits};
    auto* out = reinterpret_cast<KeyedPosition*>(to.data<int32_t>());
    Launch(context, operation, CountDigitsKernel, blocks, kThreads, sizeof(uint32_t) * digits, source, n, per_block,
           digit, count);
    Launch(context, operation, MoveKernel, blocks, kThreads, sizeof(uint32_t) * digits * (1 + kWarps), source, n,
           per_block, digit, count, out);
    source.sorted = out;
    std::swap(from, to);
  }
  return from;
}

}  // namespace photon::cuda
