// Counter-based random numbers (Philox4x32-10, Salmon et al. 2011): a pure function of key and counter, so that values
// depend on what they are for and never on who draws them or in which order.
#pragma once

#include <array>
#include <cstdint>

#include "absl/strings/string_view.h"
#include "core/host_device.h"

namespace photon {

// 64-bit hash of a name, the same on every machine.
uint64_t StableHash(absl::string_view text);

class Philox {
 public:
  PHOTON_HOST_DEVICE Philox(uint64_t key, uint64_t stream) : key_(key), stream_(stream) {}

  PHOTON_HOST_DEVICE std::array<uint32_t, 4> Block(uint64_t counter) const {  // 128 random bits
    constexpr uint32_t kMultiplier0 = 0xD2511F53, kMultiplier1 = 0xCD9E8D57;  // table 2 of the paper
    constexpr uint32_t kWeyl0 = 0x9E3779B9, kWeyl1 = 0xBB67AE85;
    constexpr int kRounds = 10;
    std::array<uint32_t, 4> c = {static_cast<uint32_t>(counter), static_cast<uint32_t>(counter >> 32),
                                 static_cast<uint32_t>(stream_), static_cast<uint32_t>(stream_ >> 32)};
    uint32_t k0 = static_cast<uint32_t>(key_), k1 = static_cast<uint32_t>(key_ >> 32);
    for (int round = 0; round < kRounds; ++round) {
      const uint64_t p0 = static_cast<uint64_t>(kMultiplier0) * c[0];
      const uint64_t p1 = static_cast<uint64_t>(kMultiplier1) * c[2];
      c = {static_cast<uint32_t>(p1 >> 32) ^ c[1] ^ k0, static_cast<uint32_t>(p1),
           static_cast<uint32_t>(p0 >> 32) ^ c[3] ^ k1, static_cast<uint32_t>(p0)};
      k0 += kWeyl0;
      k1 += kWeyl1;
    }
    return c;
  }
  PHOTON_HOST_DEVICE double Uniform(uint64_t counter) const {  // [0, 1), 53 bits
    const std::array<uint32_t, 4> bits = Block(counter);
    return ToUnit(bits[0], bits[1]);
  }
  double Normal(uint64_t counter) const;  // N(0, 1), Box-Muller

 private:
  PHOTON_HOST_DEVICE static double ToUnit(uint32_t high, uint32_t low) {
    return static_cast<double>(((static_cast<uint64_t>(high) << 32) | low) >> 11) * 0x1p-53;
  }

  uint64_t key_;
  uint64_t stream_;
};

}  // namespace photon
