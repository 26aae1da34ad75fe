// CUDA's functions for kernels: arithmetic, bits, atomics, fences. Fibers never interrupt each other: atomics are
// plain.
#pragma once

#include <math.h>

#include <bit>
#include <cstdint>
#include <type_traits>

#include "tests/simt/emulator/failure.h"
#include "tests/simt/emulator/language.h"

// Some names are glibc's own, too, which declares but doesn't export them.
extern "C" {
inline float __expf(float x) noexcept { return ::expf(x); }
inline float __logf(float x) noexcept { return ::logf(x); }
inline float __log2f(float x) noexcept { return ::log2f(x); }
inline float __log10f(float x) noexcept { return ::log10f(x); }
inline float __powf(float x, float y) noexcept { return ::powf(x, y); }
inline float __sinf(float x) noexcept { return ::sinf(x); }
inline float __cosf(float x) noexcept { return ::cosf(x); }
inline float __exp10f(float x) noexcept { return ::exp10f(x); }
}
inline float __fdividef(float x, float y) { return x / y; }
inline float __frcp_rn(float x) { return 1 / x; }
inline float __fsqrt_rn(float x) { return ::sqrtf(x); }
inline float __frsqrt_rn(float x) { return 1 / ::sqrtf(x); }
inline float __fdiv_rn(float x, float y) { return x / y; }
inline float __fadd_rn(float x, float y) { return x + y; }
inline float __fsub_rn(float x, float y) { return x - y; }
inline float __fmul_rn(float x, float y) { return x * y; }
inline float __fmaf_rn(float x, float y, float z) { return ::fmaf(x, y, z); }
inline double __dadd_rn(double x, double y) { return x + y; }
inline double __dmul_rn(double x, double y) { return x * y; }
inline float __saturatef(float x) { return x > 0 ? (x < 1 ? x : 1.0f) : 0.0f; }
inline float rsqrtf(float x) { return 1 / ::sqrtf(x); }
inline double rsqrt(double x) { return 1 / ::sqrt(x); }
inline float rsqrt(float x) { return rsqrtf(x); }

template <typename T, typename U>
constexpr std::common_type_t<T, U> min(T a, U b) {
  using V = std::common_type_t<T, U>;
  return static_cast<V>(b) < static_cast<V>(a) ? static_cast<V>(b) : static_cast<V>(a);
}
template <typename T, typename U>
constexpr std::common_type_t<T, U> max(T a, U b) {
  using V = std::common_type_t<T, U>;
  return static_cast<V>(a) < static_cast<V>(b) ? static_cast<V>(b) : static_cast<V>(a);
}

inline uint32_t __float_as_uint(float x) { return std::bit_cast<uint32_t>(x); }
inline int __float_as_int(float x) { return std::bit_cast<int>(x); }
inline float __uint_as_float(uint32_t x) { return std::bit_cast<float>(x); }
inline float __int_as_float(int x) { return std::bit_cast<float>(x); }
inline long long __double_as_longlong(double x) { return std::bit_cast<long long>(x); }
inline double __longlong_as_double(long long x) { return std::bit_cast<double>(x); }
inline int __float2int_rn(float x) { return static_cast<int>(::nearbyintf(x)); }
inline int __float2int_rd(float x) { return static_cast<int>(::floorf(x)); }
inline int __float2int_rz(float x) { return static_cast<int>(x); }

inline int __popc(unsigned x) { return std::popcount(x); }
inline int __popcll(unsigned long long x) { return std::popcount(x); }
inline int __clz(int x) { return std::countl_zero(static_cast<unsigned>(x)); }
inline int __clzll(long long x) { return std::countl_zero(static_cast<unsigned long long>(x)); }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int __ffsll(long long x) { return __builtin_ffsll(x); }
inline unsigned __umulhi(unsigned x, unsigned y) { return static_cast<unsigned>((uint64_t{x} * y) >> 32); }
inline int __mulhi(int x, int y) { return static_cast<int>((int64_t{x} * y) >> 32); }
inline unsigned long long __umul64hi(unsigned long long x, unsigned long long y) {
  return static_cast<unsigned long long>((static_cast<unsigned __int128>(x) * y) >> 64);
}

template <typename T>
T __ldg(const T* p) {
  return *p;
}
template <typename T>
T __ldcs(const T* p) {
  return *p;
}
template <typename T>
T __ldcg(const T* p) {
  return *p;
}
template <typename T>
void __stcs(T* p, std::type_identity_t<T> value) {
  *p = value;
}
template <typename T>
void __stcg(T* p, std::type_identity_t<T> value) {
  *p = value;
}

namespace photon::simt {
template <typename T, typename F>
T Exchange(T* p, F&& next) {
  const T before = *p;
  *p = next(before);
  return before;
}
}  // namespace photon::simt

template <typename T>
T atomicAdd(T* p, std::type_identity_t<T> value) {
  return photon::simt::Exchange(p, [&](T before) { return static_cast<T>(before + value); });
}
template <typename T>
T atomicSub(T* p, std::type_identity_t<T> value) {
  return photon::simt::Exchange(p, [&](T before) { return static_cast<T>(before - value); });
}
template <typename T>
T atomicMax(T* p, std::type_identity_t<T> value) {
  return photon::simt::Exchange(p, [&](T before) { return before < value ? value : before; });
}
template <typename T>
T atomicMin(T* p, std::type_identity_t<T> value) {
  return photon::simt::Exchange(p, [&](T before) { return value < before ? value : before; });
}
template <typename T>
T atomicOr(T* p, std::type_identity_t<T> value) {
  return photon::simt::Exchange(p, [&](T before) { return before | value; });
}
template <typename T>
T atomicAnd(T* p, std::type_identity_t<T> value) {
  return photon::simt::Exchange(p, [&](T before) { return before & value; });
}
template <typename T>
T atomicExch(T* p, std::type_identity_t<T> value) {
  return photon::simt::Exchange(p, [&](T) { return value; });
}
template <typename T>
T atomicCAS(T* p, std::type_identity_t<T> expected, std::type_identity_t<T> value) {
  return photon::simt::Exchange(p, [&](T before) { return before == expected ? value : before; });
}
// Counts up to `limit`, then begins again at 0.
inline unsigned atomicInc(unsigned* p, unsigned limit) {
  return photon::simt::Exchange(p, [&](unsigned before) { return before >= limit ? 0 : before + 1; });
}

inline void __threadfence() {}
inline void __threadfence_block() {}
inline void __threadfence_system() {}
[[noreturn]] inline void __trap() { photon::simt::Fail("__trap()"); }
