// Range checks of config fields, with one form of message: `FIELD = VALUE PROBLEM; REMEDY`.
#pragma once

#include <cmath>
#include <cstdint>
#include <string>
#include <type_traits>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace photon {

template <typename T>
absl::Status Refuse(const std::string& field, const T& value, const std::string& problem, const std::string& remedy) {
  return absl::InvalidArgumentError(absl::StrCat(field, " = ", value, " ", problem, "; ", remedy));
}

// Integers and floating numbers; NaN and infinity are refused.
template <typename T>
absl::Status AtLeast(const std::string& field, T value, std::type_identity_t<T> least) {
  if (value >= least && std::isfinite(static_cast<double>(value))) return absl::OkStatus();
  return Refuse(field, value, "is out of range", absl::StrCat("use ", least, " or more"));
}

inline absl::Status Within(const std::string& field, int64_t value, int64_t least, int64_t most) {
  if (value >= least && value <= most) return absl::OkStatus();
  return Refuse(field, value, "is out of range",
                value < least ? absl::StrCat("use ", least, " or more") : absl::StrCat("use ", most, " or less"));
}

inline absl::Status Above(const std::string& field, double value, double bound) {
  if (value > bound && std::isfinite(value)) return absl::OkStatus();
  return Refuse(field, value, "is out of range", absl::StrCat("use a number above ", bound));
}

inline absl::Status AtMost(const std::string& field, double value, double most) {
  if (value <= most) return absl::OkStatus();
  return Refuse(field, value, "is out of range", absl::StrCat("use ", most, " or less"));
}

// from `low` up to but not including `high`
inline absl::Status InRange(const std::string& field, double value, double low, double high) {
  if (value >= low && value < high) return absl::OkStatus();
  return Refuse(field, value, "is out of range", absl::StrCat("use a number from ", low, " to below ", high));
}

// "use 96 or 104": the multiples of `unit` around a value that isn't one.
inline std::string NearestMultiples(int64_t value, int64_t unit) {
  const int64_t below = value / unit * unit;
  return below > 0 ? absl::StrCat("use ", below, " or ", below + unit) : absl::StrCat("use ", unit);
}

}  // namespace photon
