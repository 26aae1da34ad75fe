// CUDA's vector types, with CUDA's alignments.
#pragma once

#define PHOTON_SIMT_VECTORS(T, NAME, ALIGN2, ALIGN4)                           \
  struct NAME##1 {                                                             \
    T x;                                                                       \
  };                                                                           \
  struct alignas(ALIGN2) NAME##2 {                                             \
    T x, y;                                                                    \
  };                                                                           \
  struct NAME##3 {                                                             \
    T x, y, z;                                                                 \
  };                                                                           \
  struct alignas(ALIGN4) NAME##4 {                                             \
    T x, y, z, w;                                                              \
  };                                                                           \
  inline constexpr NAME##1 make_##NAME##1(T x) { return {x}; }                 \
  inline constexpr NAME##2 make_##NAME##2(T x, T y) { return {x, y}; }         \
  inline constexpr NAME##3 make_##NAME##3(T x, T y, T z) { return {x, y, z}; } \
  inline constexpr NAME##4 make_##NAME##4(T x, T y, T z, T w) { return {x, y, z, w}; }

PHOTON_SIMT_VECTORS(signed char, char, 2, 4)
PHOTON_SIMT_VECTORS(unsigned char, uchar, 2, 4)
PHOTON_SIMT_VECTORS(short, short, 4, 8)
PHOTON_SIMT_VECTORS(unsigned short, ushort, 4, 8)
PHOTON_SIMT_VECTORS(int, int, 8, 16)
PHOTON_SIMT_VECTORS(unsigned, uint, 8, 16)
PHOTON_SIMT_VECTORS(long long, longlong, 16, 16)
PHOTON_SIMT_VECTORS(unsigned long long, ulonglong, 16, 16)
PHOTON_SIMT_VECTORS(float, float, 8, 16)
PHOTON_SIMT_VECTORS(double, double, 16, 16)
#undef PHOTON_SIMT_VECTORS

struct dim3 {
  unsigned x = 1, y = 1, z = 1;
  constexpr dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
  constexpr dim3(uint3 v) : x(v.x), y(v.y), z(v.z) {}
  constexpr operator uint3() const { return {x, y, z}; }
};
