#include "core/random.h"

#include <xxhash.h>

#include <cmath>
#include <numbers>

namespace photon {

uint64_t StableHash(absl::string_view text) { return XXH3_64bits(text.data(), text.size()); }

double Philox::Normal(uint64_t counter) const {
  const std::array<uint32_t, 4> bits = Block(counter);
  const double radius = std::sqrt(-2 * std::log1p(-ToUnit(bits[0], bits[1])));  // 1 - u is never 0
  return radius * std::cos(2 * std::numbers::pi * ToUnit(bits[2], bits[3]));
}

}  // namespace photon
