// Exponentials in a kernel's arithmetic: accurate ones here, fast ones of base 2 in simt.h.
#pragma once

#include <cuda_runtime.h>

#include <cmath>

namespace photon::cuda {

inline constexpr float kLog2E = 1.4426950408889634f;  // exp(x) = Exp2(kLog2E * x)

__device__ __forceinline__ float Exp(float x) { return expf(x); }
__device__ __forceinline__ double Exp(double x) { return exp(x); }

}  // namespace photon::cuda
