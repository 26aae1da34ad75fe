// The twin of core/cuda/nvidia/warpgroup.h on emulated threads: the same functions with the same contracts.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <source_location>

#include "simt.h"
#include "tests/simt/emulator/barriers.h"
#include "tests/simt/emulator/warpgroup_products.h"

namespace photon::cuda {

inline constexpr int kWarpgroup = 4 * kWarp;
inline constexpr bool kHasWarpgroups = true;

inline constexpr int kSwizzleSlack = 1024 - 128;
template <typename T>
T* SwizzledShared() {
  unsigned char* const shared = DynamicShared<unsigned char>();
  return reinterpret_cast<T*>(shared + (-simt::SharedAddress(shared) & 1023u));
}

inline uint64_t SwizzledFactor(const void* first, int leading, int stride) {
  return simt::SwizzledFactor(first, leading, stride);
}

inline void OrderRegisters(const std::source_location& where = std::source_location::current()) {
  simt::OrderRegisters(where);
}
inline void ShowToProducts() { simt::ShowCopies(); }
inline void ComputeFirst(float) {}
inline void CommitProducts(const std::source_location& where = std::source_location::current()) {
  simt::CommitProducts(where);
}
template <int Pending, int... Tiles>
void WaitForProducts([[maybe_unused]] float (&... sums)[Tiles][4]) {
  simt::WaitForProducts(Pending, std::source_location::current());
}

template <int Tiles>
void Product(float (&d)[Tiles][4], uint64_t a, uint64_t b, bool add,
             const std::source_location& where = std::source_location::current()) {
  static_assert(Tiles == 8 || Tiles == 16);
  simt::IssueProduct({&d[0][0], Tiles, nullptr, a, b, false, add}, where);
}
template <bool DepthAcross, int Tiles>
void Product(float (&d)[Tiles][4], const uint32_t (&a)[4], uint64_t b, bool add,
             const std::source_location& where = std::source_location::current()) {
  static_assert(Tiles == 8 || Tiles == 16);
  simt::IssueProduct({&d[0][0], Tiles, a, 0, b, DepthAcross, add}, where);
}

using SharedBarrier = uint64_t;
inline void Init(SharedBarrier* barrier, int count) { simt::InitBarrier(barrier, count); }
inline void Arrive(SharedBarrier* barrier) { simt::ArriveAt(barrier); }
inline bool Ended(SharedBarrier* barrier, int phase) { return simt::HasEnded(barrier, phase); }
inline void Wait(SharedBarrier* barrier, int phase,
                 const std::source_location& where = std::source_location::current()) {
  simt::WaitAt(barrier, phase, where);
}

inline void Meet(int id, int threads, const std::source_location& where = std::source_location::current()) {
  simt::MeetAt(id, threads, /*wait=*/true, where);
}
inline void Announce(int id, int threads, const std::source_location& where = std::source_location::current()) {
  simt::MeetAt(id, threads, /*wait=*/false, where);
}

template <int Registers>
void GiveRegisters() {}
template <int Registers>
void TakeRegisters() {}

}  // namespace photon::cuda
