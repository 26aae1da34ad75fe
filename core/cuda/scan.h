// Sums of all before: over the threads of a warp and of a block, in a fixed order.
#pragma once

#include "simt.h"

namespace photon::cuda {

// The sum of `value` over this lane and those below it.
template <typename T>
__device__ __forceinline__ T WarpInclusiveSum(T value) {
  const int lane = threadIdx.x % kWarp;
#pragma unroll
  for (int step = 1; step < kWarp; step *= 2) {
    const T below = __shfl_up_sync(kAllLanes, value, step);
    if (lane >= step) value += below;
  }
  return value;
}

// The sum of `value` over the block's threads below this one; `total` becomes that of all. One-dimensional blocks of
// whole warps, at most 32. `scratch`: shared memory for one T a warp. A barrier stands before scratch is used and one
// before it is read, none at the end.
template <typename T>
__device__ __forceinline__ T BlockExclusiveSum(T value, T* scratch, T* total) {
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp, warps = blockDim.x / kWarp;
  const T inclusive = WarpInclusiveSum(value);
  __syncthreads();
  if (lane == kWarp - 1) scratch[warp] = inclusive;
  __syncthreads();
  const T of_warps = WarpInclusiveSum(lane < warps ? scratch[lane] : T(0));
  *total = __shfl_sync(kAllLanes, of_warps, kWarp - 1);
  const T before = __shfl_sync(kAllLanes, of_warps, warp > 0 ? warp - 1 : 0);
  return (warp > 0 ? before : T(0)) + inclusive - value;
}

}  // namespace photon::cuda
