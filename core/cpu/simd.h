// 64-byte vectors of float or double by the compiler's vector extension: one source for every instruction set (AVX-512
// maps to one register; narrower sets to several).
//
// Kernels are templated on the element type T and compute in A = AccumulateType<T>: Load and Store convert bf16.
#pragma once

#ifdef __AVX512VL__  // and BW: no processor has one without the other
#include <immintrin.h>
#endif

#include <cmath>
#include <cstdint>
#include <cstring>
#include <utility>

#include "core/dtype.h"

namespace photon::cpu {

#ifdef __AVX512BF16__
inline constexpr bool kHasBf16Products = true;
#else
inline constexpr bool kHasBf16Products = false;
#endif

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
// One permutation, each element after a zero (little-endian: its upper half); GCC 12 makes five instructions of
// __builtin_convertvector here.
template <int... half>
inline VecF Widen(VecU16 v, std::integer_sequence<int, half...>) {
  return reinterpret_cast<VecF>(__builtin_shufflevector(v, VecU16{}, (half % 2 == 0 ? 16 : half / 2)...));
}
inline VecF Load(const BFloat16* p) {
  VecU16 v;
  std::memcpy(&v, p, sizeof(v));
  return Widen(v, std::make_integer_sequence<int, 32>{});
}
// 32 elements as they lie, pair by pair; and of each pair the first, the second.
inline VecF LoadPairs(const BFloat16* p) {
  VecF v;
  std::memcpy(&v, p, sizeof(v));
  return v;
}
inline VecF EvenElements(VecF pairs) { return reinterpret_cast<VecF>(reinterpret_cast<VecU32>(pairs) << 16); }
inline VecF OddElements(VecF pairs) { return reinterpret_cast<VecF>(reinterpret_cast<VecU32>(pairs) & 0xffff0000u); }
inline void Store(float* p, VecF v) { std::memcpy(p, &v, sizeof(v)); }
inline void Store(double* p, Vec<double> v) { std::memcpy(p, &v, sizeof(v)); }
// Rounds to nearest, ties to even; NaN stays NaN. The instruction, where there is one, stands for ten others and takes
// subnormal numbers for 0.
inline VecU16 Narrow(VecF v) {
#ifdef __AVX512BF16__
  return reinterpret_cast<VecU16>(_mm512_cvtneps_pbh(reinterpret_cast<__m512>(v)));
#else
  const VecU32 u = reinterpret_cast<VecU32>(v);
  const VecU32 rounded = (u + 0x7fffu + ((u >> 16) & 1u)) >> 16;
  const VecU32 nan = (u >> 16) | 0x40u;  // rounding could carry a NaN to infinity, or to 0
  return __builtin_convertvector((u & 0x7fffffffu) > 0x7f800000u ? nan : rounded, VecU16);
#endif
}
inline void Store(BFloat16* p, VecF v) {
  const VecU16 narrow = Narrow(v);
  std::memcpy(static_cast<void*>(p), &narrow, sizeof(narrow));
}

// The first n elements of a vector, fewer than it has, as they lie; zeros behind them. By a mask where there are masks:
// memcpy of a length that is known late is a call.
template <typename V, typename T>
inline V LoadFirst(const T* p, int64_t n) {
  V v = {};
#ifdef __AVX512VL__
  const auto first = (uint64_t{1} << n) - 1;
  if constexpr (sizeof(V) == 64 && sizeof(T) == 2) {
    return reinterpret_cast<V>(_mm512_maskz_loadu_epi16(static_cast<__mmask32>(first), p));
  } else if constexpr (sizeof(V) == 64 && sizeof(T) == 4) {
    return reinterpret_cast<V>(_mm512_maskz_loadu_epi32(static_cast<__mmask16>(first), p));
  } else if constexpr (sizeof(V) == 32 && sizeof(T) == 2) {
    return reinterpret_cast<V>(_mm256_maskz_loadu_epi16(static_cast<__mmask16>(first), p));
  }
#endif
  std::memcpy(&v, p, n * sizeof(T));
  return v;
}
template <typename V, typename T>
inline void StoreFirst(T* p, int64_t n, V v) {
#ifdef __AVX512VL__
  const auto first = (uint64_t{1} << n) - 1;
  if constexpr (sizeof(V) == 64 && sizeof(T) == 4) {
    return _mm512_mask_storeu_epi32(p, static_cast<__mmask16>(first), reinterpret_cast<__m512i>(v));
  } else if constexpr (sizeof(V) == 32 && sizeof(T) == 2) {
    return _mm256_mask_storeu_epi16(p, static_cast<__mmask16>(first), reinterpret_cast<__m256i>(v));
  }
#endif
  std::memcpy(static_cast<void*>(p), &v, n * sizeof(T));
}

// The first n < kLanes elements, 0 among them; the rest of the vector is `fill`, the rest of the memory untouched.
template <typename T>
inline Vec<AccumulateType<T>> LoadPartial(const T* p, int64_t n, AccumulateType<T> fill = 0) {
  using A = AccumulateType<T>;
  Vec<A> v;
  if constexpr (std::is_same_v<T, BFloat16>) {
    v = Widen(LoadFirst<VecU16>(p, n), std::make_integer_sequence<int, 32>{});
  } else {
    v = LoadFirst<Vec<A>>(p, n);
  }
  if (fill == 0) return v;
  A lane[kLanes<A>];
  for (int i = 0; i < kLanes<A>; ++i) lane[i] = static_cast<A>(i);
  return Load(lane) < static_cast<A>(n) ? v : Broadcast<A>(fill);
}
template <typename T>
inline void StorePartial(T* p, int64_t n, Vec<AccumulateType<T>> v) {
  if constexpr (std::is_same_v<T, BFloat16>) {
    StoreFirst(p, n, Narrow(v));
  } else {
    StoreFirst(p, n, v);
  }
}

// The part of a row that one vector covers: all lanes, or the first n. Lets a kernel write its loop body once.
struct AllLanes {};
struct FirstLanes {
  int64_t n;
};
template <typename T>
inline Vec<AccumulateType<T>> Load(const T* p, AllLanes, AccumulateType<T> = 0) {
  return Load(p);
}
template <typename T>
inline Vec<AccumulateType<T>> Load(const T* p, FirstLanes lanes, AccumulateType<T> fill = 0) {
  return LoadPartial(p, lanes.n, fill);
}
template <typename T>
inline void Store(T* p, Vec<AccumulateType<T>> v, AllLanes) {
  Store(p, v);
}
template <typename T>
inline void Store(T* p, Vec<AccumulateType<T>> v, FirstLanes lanes) {
  StorePartial(p, lanes.n, v);
}

inline VecF LoadPairs(const BFloat16* p, AllLanes) { return LoadPairs(p); }
inline VecF LoadPairs(const BFloat16* p, FirstLanes lanes) {
  return LoadFirst<VecF>(reinterpret_cast<const float*>(p), lanes.n);
}

// Calls f(i, AllLanes) for the whole vectors of a row of n elements, then f(i, FirstLanes) for the rest, if any.
template <typename A, typename F>
inline void ForEachVector(int64_t n, F&& f) {
  int64_t i = 0;
  for (; i + kLanes<A> <= n; i += kLanes<A>) f(i, AllLanes{});
  if (i < n) f(i, FirstLanes{n - i});
}

// Lane i of the result is lane i ^ half of v: a step of a reduction as a tree.
template <int half, int... lane, typename V>
inline V SwapHalves(V v, std::integer_sequence<int, lane...>) {
  return __builtin_shufflevector(v, v, (lane ^ half)...);
}
// combine(combine(v[0], v[n/2]), ..): the order of the tree is fixed.
template <typename A, int half = kLanes<A> / 2, typename F>
inline A Reduce(Vec<A> v, F&& combine) {
  if constexpr (half == 0) {
    return v[0];
  } else {
    return Reduce<A, half / 2>(combine(v, SwapHalves<half>(v, std::make_integer_sequence<int, kLanes<A>>{})), combine);
  }
}
template <typename A>
inline A Sum(Vec<A> v) {
  return Reduce<A>(v, [](Vec<A> a, Vec<A> b) { return a + b; });
}
template <typename V>
inline V Maximum(V a, V b) {
  return a > b ? a : b;
}
template <typename A>
inline A Max(Vec<A> v) {
  return Reduce<A>(v, [](Vec<A> a, Vec<A> b) { return Maximum(a, b); });
}

// exp within 2 ulp for float; 0 below -87.33654 (where results would be subnormal; so Exp(-inf) is 0), the largest
// finite result above 88.72283; NaN stays NaN. Library values for double.
inline VecF Exp(VecF x) {
  constexpr float kLowest = -87.33654f, kHighest = 88.72283f;
  constexpr float kRound = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer, whose bits are then the lowest
  const VecF bounded = kHighest < x ? Broadcast(kHighest) : x;
  const VecF shifted = bounded * 1.44269504f + kRound;
  const VecF n = shifted - kRound;
  const VecF r = (bounded - n * 0.693359375f) + n * 2.12194440e-4f;
  VecF p = 1.9875691500e-4f * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r + 1.0f;
  p = p * r + 1.0f;
  // Adds n to the exponent: p is in [0.7, 1.42], the result normal.
  const VecF result = reinterpret_cast<VecF>(reinterpret_cast<VecU32>(p) + (reinterpret_cast<VecU32>(shifted) << 23));
  return x >= kLowest ? result : (VecF{} > x ? VecF{} : x);  // x itself: NaN
}
inline Vec<double> Exp(Vec<double> x) {
  for (int i = 0; i < kLanes<double>; ++i) x[i] = std::exp(x[i]);
  return x;
}

// log within 2 ulp for positive normal floats, the polynomial of Cephes' logf; exact library values for
// double.
inline VecF Log(VecF x) {
  typedef int32_t VecI __attribute__((vector_size(64)));
  // x = 2^e m, m in [sqrt(1/2), sqrt(2)): subtracting sqrt(1/2)'s bits carries into the exponent from there on.
  const VecI bits = reinterpret_cast<VecI>(x) - 0x3f3504f3;
  const VecF e = __builtin_convertvector(bits >> 23, VecF);
  const VecF m = reinterpret_cast<VecF>((bits & 0x007fffff) + 0x3f3504f3) - 1.0f;
  const VecF square = m * m;
  VecF p = 7.0376836292e-2f * m - 1.1514610310e-1f;
  p = p * m + 1.1676998740e-1f;
  p = p * m - 1.2420140846e-1f;
  p = p * m + 1.4249322787e-1f;
  p = p * m - 1.6668057665e-1f;
  p = p * m + 2.0000714765e-1f;
  p = p * m - 2.4999993993e-1f;
  p = p * m + 3.3333331174e-1f;
  p = p * m * square - e * 2.12194440e-4f - square * 0.5f;
  return m + p + e * 0.693359375f;
}
inline Vec<double> Log(Vec<double> x) {
  for (int i = 0; i < kLanes<double>; ++i) x[i] = std::log(x[i]);
  return x;
}

}  // namespace photon::cpu
