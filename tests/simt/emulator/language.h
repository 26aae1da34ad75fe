// CUDA's additions to C++, for g++: qualifiers, and the variables that say which thread runs.
#pragma once

#include "tests/simt/emulator/vector_types.h"

#define __global__
#define __device__
#define __host__
#define __constant__
#define __grid_constant__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __align__(n) __attribute__((aligned(n)))
#define __builtin_assume(condition) static_cast<void>(0)
// One copy for all blocks of a host's thread, which run one after another. In a function, thread_local is also static.
#define __shared__ thread_local

// Set by the scheduler (block.h) before it lets a thread go on.
constinit inline thread_local uint3 threadIdx = {};
constinit inline thread_local uint3 blockIdx = {};
constinit inline thread_local dim3 blockDim = {};
constinit inline thread_local dim3 gridDim = {};
inline constexpr int warpSize = 32;
