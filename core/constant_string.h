// A string literal as a template's argument.
#pragma once

#include <algorithm>
#include <cstddef>

namespace photon {

template <size_t N>
struct ConstantString {
  constexpr ConstantString(const char (&text)[N]) { std::copy_n(text, N, chars); }  // NOLINT: implicit
  constexpr size_t count(char c) const { return std::count(chars, chars + N, c); }
  char chars[N] = {};
};

}  // namespace photon
