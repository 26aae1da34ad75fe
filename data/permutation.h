// A keyed permutation of [0, n), computed on the fly: the order of samples without an index in memory or on disk.
//
// An alternating Feistel network over the next power of two, walked until the value lies below n (Black and Rogaway
// 2002, "Ciphers with arbitrary finite domains"): a bijection for every n and key, below two walks on average. Not for
// secrets. bench/data_loader.cc prints its cost.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>

#include "core/check.h"
#include "core/random.h"

namespace photon {

class Permutation {
 public:
  Permutation(int64_t n, uint64_t seed, uint64_t epoch) : n_(static_cast<uint64_t>(n)) {
    PHOTON_CHECK(n > 0) << n;
    // At least 4 bits: a network over fewer has too few states to mix, and walks stay short (2^4 / n states each).
    const int bits = std::max(4, static_cast<int>(std::bit_width(n_ - 1)));
    low_bits_ = bits / 2;
    low_mask_ = (uint64_t{1} << low_bits_) - 1;
    high_mask_ = (uint64_t{1} << (bits - low_bits_)) - 1;
    const Philox philox(seed, epoch);
    for (size_t i = 0; i < keys_.size(); ++i) {
      const auto block = philox.Block(i);
      keys_[i] = uint64_t{block[0]} << 32 | block[1];
    }
  }

  int64_t operator()(int64_t index) const {
    PHOTON_CHECK(index >= 0 && static_cast<uint64_t>(index) < n_) << index << " of " << n_;
    uint64_t value = static_cast<uint64_t>(index);
    do {
      value = Encrypt(value);
    } while (value >= n_);
    return static_cast<int64_t>(value);
  }

 private:
  static uint64_t Mix(uint64_t x) {  // the finalizer of MurmurHash3
    x = (x ^ (x >> 33)) * 0xff51afd7ed558ccdu;
    x = (x ^ (x >> 33)) * 0xc4ceb9fe1a85ec53u;
    return x ^ (x >> 33);
  }

  uint64_t Encrypt(uint64_t value) const {
    uint64_t low = value & low_mask_, high = value >> low_bits_;
    for (size_t round = 0; round < keys_.size(); round += 2) {
      low ^= Mix(high ^ keys_[round]) & low_mask_;
      high ^= Mix(low ^ keys_[round + 1]) & high_mask_;
    }
    return high << low_bits_ | low;
  }

  uint64_t n_;
  int low_bits_;
  uint64_t low_mask_, high_mask_;
  std::array<uint64_t, 8> keys_;  // rounds
};

}  // namespace photon
