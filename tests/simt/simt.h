// The twin of core/cuda/nvidia/simt.h on emulated threads: the same functions with the same contracts.
#pragma once

#include <cuda_runtime.h>

#include <cmath>
#include <cstdint>
#include <source_location>

#include "tests/simt/emulator/asynchronous_copies.h"
#include "tests/simt/emulator/instructions.h"
#include "tests/simt/emulator/shared_memory.h"

namespace photon::cuda {

inline constexpr int kWarp = 32;
inline constexpr unsigned kAllLanes = 0xffffffffu;

inline uint32_t PackBf16(float low, float high) { return simt::RoundToBf16(low) | simt::RoundToBf16(high) << 16; }
inline float2 UnpackBf16(uint32_t packed) {
  return {__uint_as_float(packed << 16), __uint_as_float(packed & 0xffff0000u)};
}

inline float Exp2(float x) { return std::exp2(x); }

template <typename T>
T* DynamicShared() {
  return static_cast<T*>(simt::DynamicSharedMemory());
}

inline uint4 LoadOnce(const void* global) {
  simt::CheckGlobal(global, sizeof(uint4));
  return *static_cast<const uint4*>(global);
}
inline void StoreOnce(void* global, uint4 v) {
  simt::CheckGlobal(global, sizeof(uint4));
  *static_cast<uint4*>(global) = v;
}

template <int Bytes>
void CopyAsync(void* shared, const void* global, bool valid = true) {
  static_assert(Bytes == 4 || Bytes == 8 || Bytes == 16);
  simt::QueueCopy(shared, global, Bytes, valid);
}
inline void CopyAsyncCommit() { simt::CommitCopies(); }
template <int Pending>
void CopyAsyncWait() {
  simt::WaitForCopies(Pending);
}

inline void LoadMatrix4(uint32_t (&r)[4], const void* row,
                        const std::source_location& where = std::source_location::current()) {
  simt::LoadMatrices(r, 4, row, false, where);
}
inline void LoadMatrix4Transposed(uint32_t (&r)[4], const void* row,
                                  const std::source_location& where = std::source_location::current()) {
  simt::LoadMatrices(r, 4, row, true, where);
}
inline void LoadMatrix2(uint32_t (&r)[2], const void* row,
                        const std::source_location& where = std::source_location::current()) {
  simt::LoadMatrices(r, 2, row, false, where);
}
inline void LoadMatrix2Transposed(uint32_t (&r)[2], const void* row,
                                  const std::source_location& where = std::source_location::current()) {
  simt::LoadMatrices(r, 2, row, true, where);
}

inline uint32_t TransposeMatrix(uint32_t tile, const std::source_location& where = std::source_location::current()) {
  return simt::TransposeTile(tile, where);
}

inline void MmaBf16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2],
                    const std::source_location& where = std::source_location::current()) {
  simt::MultiplyMatrices(d, a, b, where);
}

}  // namespace photon::cuda
