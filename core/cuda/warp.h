// Sums and maxima over the threads of a warp and of a block, in a fixed order.
#pragma once

#include "simt.h"

namespace photon::cuda {

// Over the Lanes (a power of two) neighbours that a thread is among; every thread gets the result.
template <int Lanes = kWarp, typename T>
__device__ __forceinline__ T WarpSum(T value) {
#pragma unroll
  for (int step = Lanes / 2; step > 0; step /= 2) value += __shfl_xor_sync(kAllLanes, value, step);
  return value;
}
template <int Lanes = kWarp, typename T>
__device__ __forceinline__ T WarpMax(T value) {
#pragma unroll
  for (int step = Lanes / 2; step > 0; step /= 2) {
    const T other = __shfl_xor_sync(kAllLanes, value, step);
    value = other > value ? other : value;
  }
  return value;
}

// Over the block, of at most 32 warps; every thread gets the result. `scratch`: shared memory for one T a warp. All
// threads call it. A barrier stands before scratch is used and one before its result is read, none at the end: give the
// next call another scratch, or put a barrier between.
template <typename T>
__device__ __forceinline__ T BlockSum(T value, T* scratch) {
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp, warps = (blockDim.x + kWarp - 1) / kWarp;
  value = WarpSum(value);
  __syncthreads();
  if (lane == 0) scratch[warp] = value;
  __syncthreads();
  return WarpSum(lane < warps ? scratch[lane] : T(0));
}

// The largest likewise.
template <typename T>
__device__ __forceinline__ T BlockMax(T value, T* scratch) {
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp, warps = (blockDim.x + kWarp - 1) / kWarp;
  value = WarpMax(value);
  __syncthreads();
  if (lane == 0) scratch[warp] = value;
  __syncthreads();
  return WarpMax(scratch[lane < warps ? lane : 0]);
}

}  // namespace photon::cuda
