#include "core/random.h"

#include <xxhash.h>

#include <cmath>
#include <numbers>

namespace photon {
namespace {

constexpr uint32_t kMultiplier0 = 0xD2511F53, kMultiplier1 = 0xCD9E8D57;  // Philox4x32, Salmon et al. 2011, table 2
constexpr uint32_t kWeyl0 = 0x9E3779B9, kWeyl1 = 0xBB67AE85;
constexpr int kRounds = 10;

double ToUnit(uint32_t high, uint32_t low) {
  return static_cast<double>(((static_cast<uint64_t>(high) << 32) | low) >> 11) * 0x1p-53;
}

}  // namespace

uint64_t StableHash(absl::string_view text) { return XXH3_64bits(text.data(), text.size()); }

std::array<uint32_t, 4> Philox::Block(uint64_t counter) const {
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

double Philox::Uniform(uint64_t counter) const {
  const std::array<uint32_t, 4> bits = Block(counter);
  return ToUnit(bits[0], bits[1]);
}

double Philox::Normal(uint64_t counter) const {
  const std::array<uint32_t, 4> bits = Block(counter);
  const double radius = std::sqrt(-2 * std::log1p(-ToUnit(bits[0], bits[1])));  // 1 - u is never 0
  return radius * std::cos(2 * std::numbers::pi * ToUnit(bits[2], bits[3]));
}

}  // namespace photon
