// The machine that kernels are written for: one multiprocessor's instructions, where C++ and CUDA have no name for them.
//
// Kernels use CUDA's own names where they exist (threadIdx, __syncthreads, __shfl_xor_sync, rsqrtf, ..) and what
// stands here. There is a second header of this name, tests/simt/simt.h: the same functions in plain C++ on emulated
// threads, so that every kernel runs, and is tested, on machines without a GPU. The include path chooses. Needs sm_80.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace photon::cuda {

inline constexpr int kWarp = 32;
inline constexpr unsigned kAllLanes = 0xffffffffu;

// Two bf16 in one register, `low` in its lower half; rounded to nearest, ties to even.
__device__ __forceinline__ uint32_t PackBf16(float low, float high) {
  uint32_t packed;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(packed) : "f"(high), "f"(low));
  return packed;
}
__device__ __forceinline__ float2 UnpackBf16(uint32_t packed) {
  return {__uint_as_float(packed << 16), __uint_as_float(packed & 0xffff0000u)};
}

// 2^x, to about 2 ulp; 0 for -inf.
__device__ __forceinline__ float Exp2(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

// This launch's dynamic shared memory, aligned to 128 bytes.
template <typename T>
__device__ __forceinline__ T* DynamicShared() {
  extern __shared__ __align__(128) unsigned char dynamic_shared[];
  return reinterpret_cast<T*>(dynamic_shared);
}

// Global memory that is read or written once: 16 bytes past the first-level cache. Addresses are multiples of 16.
__device__ __forceinline__ uint4 LoadOnce(const void* global) {
  uint4 v;
  asm volatile("ld.global.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
               : "l"(global)
               : "memory");
  return v;
}
__device__ __forceinline__ void StoreOnce(void* global, uint4 v) {
  asm volatile("st.global.L1::no_allocate.v4.u32 [%0], {%1, %2, %3, %4};"
               :
               : "l"(global), "r"(v.x), "r"(v.y), "r"(v.z), "r"(v.w)
               : "memory");
}

__device__ __forceinline__ uint32_t SharedAddress(const void* shared) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(shared));
}

// Copies Bytes (4, 8 or 16) from global to shared memory behind the program's back; both addresses are multiples of
// Bytes. Where not `valid`, writes zeros and reads nothing. Copies since the last Commit form a group; Wait<n> returns
// when all but this thread's newest n groups have arrived (for this thread: a barrier makes them visible to others).
template <int Bytes>
__device__ __forceinline__ void CopyAsync(void* shared, const void* global, bool valid = true) {
  static_assert(Bytes == 4 || Bytes == 8 || Bytes == 16);
  const int bytes = valid ? Bytes : 0;
  if constexpr (Bytes == 16) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(SharedAddress(shared)), "l"(global), "r"(bytes)
                 : "memory");
  } else {
    asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;" ::"r"(SharedAddress(shared)), "l"(global), "n"(Bytes),
                 "r"(bytes)
                 : "memory");
  }
}
__device__ __forceinline__ void CopyAsyncCommit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
template <int Pending>
__device__ __forceinline__ void CopyAsyncWait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(Pending) : "memory");
}

// Warp-wide. Loads 8 x 8 tiles of 16-bit elements from shared memory. Lane i gives the address (a multiple of 16) of
// row i % 8 of tile i / 8: lanes 0-15 count for two tiles, all for four. Of tile t, lane i receives elements
// [i / 4][2 (i % 4)] (lower half) and [i / 4][2 (i % 4) + 1] in r[t]; transposed: [2 (i % 4)][i / 4] and
// [2 (i % 4) + 1][i / 4].
__device__ __forceinline__ void LoadMatrix4(uint32_t (&r)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(SharedAddress(row))
               : "memory");
}
__device__ __forceinline__ void LoadMatrix4Transposed(uint32_t (&r)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(SharedAddress(row))
               : "memory");
}
__device__ __forceinline__ void LoadMatrix2(uint32_t (&r)[2], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0, %1}, [%2];"
               : "=r"(r[0]), "=r"(r[1])
               : "r"(SharedAddress(row))
               : "memory");
}
__device__ __forceinline__ void LoadMatrix2Transposed(uint32_t (&r)[2], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0, %1}, [%2];"
               : "=r"(r[0]), "=r"(r[1])
               : "r"(SharedAddress(row))
               : "memory");
}

// Warp-wide. Transposes an 8 x 8 tile of 16-bit elements between registers: lane i gives elements [i / 4][2 (i % 4)]
// (lower half) and [i / 4][2 (i % 4) + 1], and receives [2 (i % 4)][i / 4] and [2 (i % 4) + 1][i / 4].
__device__ __forceinline__ uint32_t TransposeMatrix(uint32_t tile) {
  uint32_t transposed;
  asm volatile("movmatrix.sync.aligned.m8n8.trans.b16 %0, %1;" : "=r"(transposed) : "r"(tile));
  return transposed;
}

// Warp-wide, on tensor cores: d [16, 8] += a [16, 16] b [16, 8], bf16 with f32 sums. With g = lane / 4, t = lane % 4:
//   a[0]: row g,     columns 2t, 2t + 1      b[0]: rows 2t, 2t + 1, column g
//   a[1]: row g + 8, columns 2t, 2t + 1      b[1]: rows 2t + 8, 2t + 9, column g
//   a[2]: row g,     columns 2t + 8, 2t + 9  d[0], d[1]: row g,     columns 2t, 2t + 1
//   a[3]: row g + 8, columns 2t + 8, 2t + 9  d[2], d[3]: row g + 8, columns 2t, 2t + 1
__device__ __forceinline__ void MmaBf16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

}  // namespace photon::cuda
