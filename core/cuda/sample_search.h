// Searches over a block's candidates for sampling: where, in the order of keys, a number of tokens or a share of the
// weight is reached; and which token a draw meets. All sums are of integers: the same in any order.
#pragma once

#include "core/cuda/sample_order.h"
#include "core/cuda/scan.h"
#include "core/cuda/warp.h"

namespace photon::cuda {

struct Candidate {
  float logit;
  int32_t id;
};

// What a search counts a candidate as; `counts` false: it is not in the set.
struct Weighed {
  bool counts;
  uint64_t key, amount;
};

// Shared memory of a search.
struct SearchSpace {
  static constexpr int kMostWarps = 32;
  uint32_t counts[kBins], low[kBins], high[kBins];  // per digit: candidates, and the halves of their amount
  uint64_t sums[kMostWarps];
  int numbers[kMostWarps];
  struct Found {
    uint32_t digit, count;    // of the candidates in the bin
    uint64_t before, amount;  // of the bins before; of the bin
    uint64_t wanted;
  } found;
};

// Adds to a 64-bit number in halves: shared memory adds 32 bits in one instruction, but not 64.
__device__ __forceinline__ void AddInHalves(uint32_t* low, uint32_t* high, uint64_t amount) {
  const uint32_t part = static_cast<uint32_t>(amount), before = atomicAdd(low, part);
  const uint32_t rest = static_cast<uint32_t>(amount >> 32) + (before + part < before ? 1 : 0);
  if (rest != 0) atomicAdd(high, rest);
}

// The digit, among the candidates of this prefix, at which amounts reach wanted(all of them) (>= 1). Where they don't,
// found.amount is 0 and found.digit the last. weigh(candidate) -> Weighed. The block agrees on the result.
template <typename Set, typename Weigh, typename Wanted>
__device__ SearchSpace::Found FindDigit(const Set& set, Weigh&& weigh, const DigitOfKey& digit, uint64_t prefix,
                                        Wanted&& wanted_of, SearchSpace& space) {
  const int threads = static_cast<int>(blockDim.x), thread = static_cast<int>(threadIdx.x);
  __syncthreads();  // the last search has been read
  for (int bin = thread; bin < kBins; bin += threads) space.counts[bin] = space.low[bin] = space.high[bin] = 0;
  __syncthreads();
#pragma unroll 4
  for (int i = thread; i < set.size(); i += threads) {
    const Weighed it = weigh(set[i]);
    if (!it.counts || digit.Prefix(it.key) != prefix) continue;
    const uint32_t bin = digit.Of(it.key);
    atomicAdd(&space.counts[bin], 1u);
    AddInHalves(&space.low[bin], &space.high[bin], it.amount);
  }
  __syncthreads();
  const int per_thread = (kBins + threads - 1) / threads;
  const int first = min(thread * per_thread, kBins), last = min(first + per_thread, kBins);
  const auto amount = [&](int bin) { return uint64_t{space.high[bin]} << 32 | space.low[bin]; };
  uint64_t own = 0, all;
  for (int bin = first; bin < last; ++bin) own += amount(bin);
  uint64_t before = BlockExclusiveSum(own, space.sums, &all);
  const uint64_t wanted = wanted_of(all);
  if (all < wanted) return {kBins - 1, 0, all, 0, wanted};
  for (int bin = first; bin < last; ++bin) {
    const uint64_t here = amount(bin);
    if (before < wanted && before + here >= wanted) {
      space.found = {static_cast<uint32_t>(bin), space.counts[bin], before, here, wanted};
    }
    before += here;
  }
  __syncthreads();
  return space.found;
}

// The smallest key up to which amounts reach wanted(all) (>= 1); the largest of all keys where they don't.
template <typename Set, typename Weigh, typename Wanted>
__device__ uint64_t FindBorder(const Set& set, Weigh&& weigh, Wanted&& wanted, SearchSpace& space) {
  DigitOfKey digit;
  SearchSpace::Found found = FindDigit(set, weigh, digit, 0, wanted, space);
  uint64_t prefix = found.digit;
  while (found.count > 1 && !digit.last()) {
    const uint64_t rest = found.wanted - found.before;
    digit = digit.Next();
    found = FindDigit(
        set, weigh, digit, prefix, [&](uint64_t) { return rest; }, space);
    prefix = digit.Extend(prefix, found.digit);
  }
  return found.amount == 0 ? ~uint64_t{0} : digit.LargestOf(prefix);
}

// The first candidate, in the set's order, with which amounts pass uniform * all: an inversion. amount_of(candidate).
// The range is cut among the warps again and again until one warp can look at what is left of it.
template <typename Set, typename Amount>
__device__ int32_t Draw(const Set& set, Amount&& amount_of, double uniform, SearchSpace& space) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp, warp = static_cast<int>(threadIdx.x) / kWarp;
  const int warps = static_cast<int>(blockDim.x) / kWarp;
  int begin = 0, end = set.size();
  uint64_t rest = 0;
  for (bool first = true; first || end - begin > kWarp; first = false) {
    const int per_warp = ((end - begin + warps - 1) / warps + kWarp - 1) / kWarp * kWarp;
    const int own_begin = min(begin + warp * per_warp, end), own_end = min(own_begin + per_warp, end);
    uint64_t own = 0;
#pragma unroll 4
    for (int i = own_begin + lane; i < own_end; i += kWarp) own += amount_of(set[i]);
    own = WarpSum(own);
    __syncthreads();
    if (lane == 0) space.sums[warp] = own;
    __syncthreads();
    if (first) {
      uint64_t all = 0;
      for (int w = 0; w < warps; ++w) all += space.sums[w];
      const auto target = static_cast<uint64_t>(uniform * static_cast<double>(all));
      rest = all == 0 ? 0 : min(target, all - 1);
    }
    int chosen = 0;
    while (chosen < warps - 1 && space.sums[chosen] <= rest) rest -= space.sums[chosen++];
    const int next = min(begin + chosen * per_warp, end);
    end = min(next + per_warp, end);
    begin = next;
  }
  const int i = min(begin + lane, set.size() - 1);
  const uint64_t through = WarpInclusiveSum(begin + lane < end ? amount_of(set[i]) : uint64_t{0});
  const unsigned passed = __ballot_sync(kAllLanes, through > rest);
  return __shfl_sync(kAllLanes, set[i].id, passed != 0 ? __ffs(static_cast<int>(passed)) - 1 : 0);
}

}  // namespace photon::cuda
