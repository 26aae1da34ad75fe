// Neighbouring elements between memory and registers, up to 16 bytes an access, and the walk of a grid's threads over a
// matrix that is cut into such vectors.
#pragma once

#include <algorithm>
#include <cstdint>
#include <type_traits>

#include "core/cuda/row_walk.h"
#include "core/dtype.h"
#include "core/tensor.h"
#include "simt.h"

namespace photon::cuda {

// Bytes that one access of a thread moves at most.
inline constexpr int kAccess = 16;
// Elements of a vector where tensors of several types are walked over together: the widest type takes whole accesses.
template <typename... T>
inline constexpr int kVector = kAccess / static_cast<int>(std::max({sizeof(T)...}));

// Whether every vector of `count` elements that starts at a multiple of `count` in a row can be accessed at once.
// Undefined tensors can.
inline bool Vectorizable(const Tensor& t, int count) {
  if (!t.defined()) return true;
  const uintptr_t bytes = std::min<uintptr_t>(kAccess, count * ByteSize(t.dtype()));
  if (reinterpret_cast<uintptr_t>(t.raw()) % bytes != 0) return false;
  return t.rank() < 2 || t.stride(0) % count == 0;
}

template <typename... Tensors>
bool AllVectorizable(int count, const Tensors&... tensors) {
  return (Vectorizable(tensors, count) && ...);
}

template <typename T>
T* DataOrNull(const Tensor& t) {
  return t.defined() ? t.data<T>() : nullptr;
}

// N neighbours as they lie in memory: loads that are converted only later stay in flight together.
template <typename T, int N>
struct Raw {
  static constexpr int kBytes = N * static_cast<int>(sizeof(T));
  using Part =
      std::conditional_t<kBytes >= kAccess, uint4,
                         std::conditional_t<kBytes == 8, uint2, std::conditional_t<kBytes == 4, uint32_t, uint16_t>>>;
  static constexpr int kParts = kBytes / static_cast<int>(sizeof(Part));
  static_assert(kParts * static_cast<int>(sizeof(Part)) == kBytes);

  // p: Vectorizable. Data that this kernel reads once.
  __device__ __forceinline__ void Load(const T* p) {
#pragma unroll
    for (int i = 0; i < kParts; ++i) {
      if constexpr (sizeof(Part) == kAccess) {
        parts[i] = LoadOnce(reinterpret_cast<const Part*>(p) + i);
      } else {
        parts[i] = reinterpret_cast<const Part*>(p)[i];
      }
    }
  }
  // Data that other threads read too.
  __device__ __forceinline__ void LoadShared(const T* p) {
#pragma unroll
    for (int i = 0; i < kParts; ++i) parts[i] = reinterpret_cast<const Part*>(p)[i];
  }
  __device__ __forceinline__ void Store(T* p) const {
#pragma unroll
    for (int i = 0; i < kParts; ++i) reinterpret_cast<Part*>(p)[i] = parts[i];
  }

  __device__ __forceinline__ void Unpack(AccumulateType<T> (&values)[N]) const {
    if constexpr (std::is_same_v<T, BFloat16> && N > 1) {
      uint32_t words[N / 2];
      __builtin_memcpy(words, parts, sizeof(words));
#pragma unroll
      for (int i = 0; i < N; i += 2) {
        const float2 pair = UnpackBf16(words[i / 2]);
        values[i] = pair.x;
        values[i + 1] = pair.y;
      }
    } else {
      T elements[N];
      __builtin_memcpy(elements, parts, sizeof(elements));
#pragma unroll
      for (int i = 0; i < N; ++i) values[i] = static_cast<AccumulateType<T>>(elements[i]);
    }
  }
  __device__ __forceinline__ void Pack(const AccumulateType<T> (&values)[N]) {
    if constexpr (std::is_same_v<T, BFloat16> && N > 1) {
      uint32_t words[N / 2];
#pragma unroll
      for (int i = 0; i < N; i += 2) words[i / 2] = PackBf16(values[i], values[i + 1]);
      __builtin_memcpy(parts, words, sizeof(words));
    } else {
      T elements[N];
#pragma unroll
      for (int i = 0; i < N; ++i) elements[i] = T(values[i]);
      __builtin_memcpy(parts, elements, sizeof(elements));
    }
  }

  Part parts[kParts];
};

// The walk of this thread of a one-dimensional grid.
__device__ __forceinline__ RowWalk ThreadsWalk(int64_t per_row) {
  return RowWalk(int64_t{blockIdx.x} * blockDim.x + threadIdx.x, int64_t{gridDim.x} * blockDim.x, per_row);
}

}  // namespace photon::cuda
