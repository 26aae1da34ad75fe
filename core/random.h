// Counter-based random numbers (Philox4x32-10, Salmon et al. 2011): a pure function of key and counter, so that values
// depend on what they are for and never on who draws them or in which order.
#pragma once

#include <array>
#include <cstdint>

#include "absl/strings/string_view.h"

namespace photon {

// 64-bit hash of a name, the same on every machine.
uint64_t StableHash(absl::string_view text);

class Philox {
 public:
  Philox(uint64_t key, uint64_t stream) : key_(key), stream_(stream) {}

  std::array<uint32_t, 4> Block(uint64_t counter) const;  // 128 random bits
  double Uniform(uint64_t counter) const;                 // [0, 1), 53 bits
  double Normal(uint64_t counter) const;                  // N(0, 1), Box-Muller

 private:
  uint64_t key_;
  uint64_t stream_;
};

}  // namespace photon
