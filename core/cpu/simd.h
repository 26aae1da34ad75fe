// 64-byte vectors of float or double by the compiler's vector extension: one source for every instruction set (AVX-512
// maps to one register; narrower sets to several).
//
// Kernels are templated on the element type T and compute in A = AccumulateType<T>: Load and Store convert bf16.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "core/dtype.h"

namespace photon::cpu {

template <typename A>
struct VecOf;
template <>
struct VecOf<float> {
  typedef float type __attribute__((vector_size(64)));
  typedef int32_t mask __attribute__((vector_size(64)));
};
template <>
struct VecOf<double> {
  typedef double type __attribute__((vector_size(64)));
  typedef int64_t mask __attribute__((vector_size(64)));
};
template <typename A>
using Vec = typename VecOf<A>::type;
template <typename A>
inline constexpr int kLanes = 64 / sizeof(A);

using VecF = Vec<float>;
typedef uint32_t VecU32 __attribute__((vector_size(64)));
typedef uint16_t VecU16 __attribute__((vector_size(32)));

template <typename A>
inline Vec<A> Broadcast(A value) {
  return value - Vec<A>{};
}

inline VecF Load(const float* p) {
  VecF v;
  std::memcpy(&v, p, sizeof(v));
  return v;
}
inline Vec<double> Load(const double* p) {
  Vec<double> v;
  std::memcpy(&v, p, sizeof(v));
  return v;
}
inline VecF Load(const BFloat16* p) {
  VecU16 half;
  std::memcpy(&half, p, sizeof(half));
  return reinterpret_cast<VecF>(__builtin_convertvector(half, VecU32) << 16);
}
inline void Store(float* p, VecF v) { std::memcpy(p, &v, sizeof(v)); }
inline void Store(double* p, Vec<double> v) { std::memcpy(p, &v, sizeof(v)); }
// Rounds to nearest, ties to even; NaN stays NaN (the infinity's mantissa bit would be lost otherwise).
inline void Store(BFloat16* p, VecF v) {
  const VecU32 u = reinterpret_cast<VecU32>(v);
  const VecU32 rounded = (u + 0x7fffu + ((u >> 16) & 1u)) >> 16;
  const VecU32 nan = (u >> 16) | 0x40u;
  const VecU16 half = __builtin_convertvector((u & 0x7fffffffu) > 0x7f800000u ? nan : rounded, VecU16);
  std::memcpy(p, &half, sizeof(half));
}

// The first n < kLanes elements; the rest of the vector is `fill`, the rest of the memory untouched.
template <typename T>
inline Vec<AccumulateType<T>> LoadPartial(const T* p, int64_t n, AccumulateType<T> fill = 0) {
  Vec<AccumulateType<T>> v = Broadcast<AccumulateType<T>>(fill);
  for (int64_t i = 0; i < n; ++i) v[i] = static_cast<AccumulateType<T>>(p[i]);
  return v;
}
template <typename T>
inline void StorePartial(T* p, int64_t n, Vec<AccumulateType<T>> v) {
  for (int64_t i = 0; i < n; ++i) p[i] = T(v[i]);
}

template <typename A>
inline A Sum(Vec<A> v) {
  for (int half = kLanes<A> / 2; half > 0; half /= 2) {
    for (int i = 0; i < half; ++i) v[i] += v[i + half];
  }
  return v[0];
}
template <typename A>
inline A Max(Vec<A> v) {
  A m = v[0];
  for (int i = 1; i < kLanes<A>; ++i) m = v[i] > m ? v[i] : m;
  return m;
}
template <typename V>
inline V Maximum(V a, V b) {
  return a > b ? a : b;
}

// exp within 2 ulp for float on [-87, 88], clamped outside (so 0 is never reached from above -87); exact library
// values for double.
inline VecF Exp(VecF x) {
  x = x < -87.33654f ? Broadcast(-87.33654f) : x;
  x = x > 88.72283f ? Broadcast(88.72283f) : x;
  constexpr float kRound = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer
  const VecF shifted = x * 1.44269504f + kRound;
  const VecF n = shifted - kRound;
  const VecF r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
  VecF p = 1.9875691500e-4f * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.0f;
  // 2^n in two factors: n = 128 alone would overflow the exponent field.
  typedef int32_t VecI __attribute__((vector_size(64)));
  const VecI ni = __builtin_convertvector(n, VecI);
  const VecI half = ni >> 1;
  return p * reinterpret_cast<VecF>((half + 127) << 23) * reinterpret_cast<VecF>((ni - half + 127) << 23);
}
inline Vec<double> Exp(Vec<double> x) {
  for (int i = 0; i < kLanes<double>; ++i) x[i] = std::exp(x[i]);
  return x;
}

}  // namespace photon::cpu
