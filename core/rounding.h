// Whole numbers brought to multiples of others.
#pragma once

#include <concepts>

namespace photon {

// a / b, rounded up; a >= 0, b > 0.
template <std::integral T>
constexpr T CeilDivide(T a, T b) {
  return (a + b - 1) / b;
}

// The least multiple of `unit` that is at least `n`; n >= 0, unit > 0.
template <std::integral T>
constexpr T RoundUp(T n, T unit) {
  return CeilDivide(n, unit) * unit;
}

}  // namespace photon
