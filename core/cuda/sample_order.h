// The order in which sampling cuts tokens off, as integers that a radix search walks down, and weights as integers
// whose sums do not depend on their order.
//
// A key has 64 bits: a bin of the distance from the best (linear, so that logits spread evenly over the counters of a
// histogram), then the exact value, then the token's id, by which equals are told apart. Smaller keys stay.
#pragma once

#include <cstdint>

#include "core/host_device.h"

namespace photon::cuda {

inline constexpr int kDigitBits = 11;  // of a key that one pass of the search settles
inline constexpr int kBins = 1 << kDigitBits;
inline constexpr int kIdBits = 64 - kDigitBits - 32;  // 2^21 tokens

// Rising with x, of all floats but NaN. -0 comes before +0: add 0 first where they are to be equal.
PHOTON_HOST_DEVICE inline uint32_t RisingBits(float x) {
  const uint32_t bits = __builtin_bit_cast(uint32_t, x);
  return bits >> 31 != 0 ? ~bits : bits | 0x80000000u;
}

// The bin of a distance >= 0 (or infinity): 64 bins for each `unit`, all that is farther in the last one.
PHOTON_HOST_DEVICE inline uint32_t DistanceBin(float distance, float inverse_unit) {
  const float bin = distance * (64 * inverse_unit);
  return bin < kBins - 1 ? static_cast<uint32_t>(bin) : kBins - 1;
}

PHOTON_HOST_DEVICE inline uint64_t OrderKey(uint32_t bin, uint32_t exact, int32_t id) {
  return (uint64_t{bin} << (32 + kIdBits)) | (uint64_t{exact} << kIdBits) | static_cast<uint32_t>(id);
}

// A weight in [0, 1] in units of 2^-44: 2^19 of them add up in 64 bits.
PHOTON_HOST_DEVICE inline uint64_t Mass(float weight) { return static_cast<uint64_t>(weight * 0x1p44f); }

// The digits of a key from the highest: bits [shift, before) next. 0, 0 after the last.
struct DigitOfKey {
  int before = 64, shift = 64 - kDigitBits;

  PHOTON_HOST_DEVICE bool last() const { return shift == 0; }
  PHOTON_HOST_DEVICE uint32_t Of(uint64_t key) const {
    return static_cast<uint32_t>(key >> shift) & ((1u << (before - shift)) - 1);
  }
  // Of the digits above.
  PHOTON_HOST_DEVICE uint64_t Prefix(uint64_t key) const { return before == 64 ? 0 : key >> before; }
  PHOTON_HOST_DEVICE uint64_t Extend(uint64_t prefix, uint32_t digit) const {
    return (prefix << (before - shift)) | digit;
  }
  // The largest key that begins with `prefix`, of the digits down to this one.
  PHOTON_HOST_DEVICE uint64_t LargestOf(uint64_t prefix) const {
    return (prefix << shift) | ((uint64_t{1} << shift) - 1);
  }
  PHOTON_HOST_DEVICE DigitOfKey Next() const { return {shift, shift > kDigitBits ? shift - kDigitBits : 0}; }
};

}  // namespace photon::cuda
