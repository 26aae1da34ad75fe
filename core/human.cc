#include "core/human.h"

#include <cmath>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace photon {

std::string HumanBytes(int64_t bytes) {
  constexpr absl::string_view kUnits[] = {"B", "kB", "MB", "GB", "TB"};
  double value = static_cast<double>(bytes);
  int unit = 0;
  while (value >= 1000 && unit < 4) value /= 1000, ++unit;
  return unit == 0 ? absl::StrCat(bytes, " B") : absl::StrFormat("%.1f %s", value, kUnits[unit]);
}

absl::StatusOr<int64_t> ParseBytes(const std::string& text) {
  static constexpr struct {
    const char* name;
    double bytes;
  } kUnits[] = {{"GiB", 0x1p30}, {"KiB", 0x1p10}, {"kB", 1e3},  {"MiB", 0x1p20}, {"TiB", 0x1p40},
                {"GB", 1e9},     {"MB", 1e6},     {"TB", 1e12}, {"B", 1}};
  std::string number = text;
  double unit = 1;
  for (const auto& [name, bytes] : kUnits) {
    if (!absl::EndsWithIgnoreCase(number, name)) continue;
    number.resize(number.size() - std::string(name).size());
    unit = bytes;
    break;
  }
  double value = 0;
  if (absl::SimpleAtod(number, &value) && value * unit >= 1 && value * unit < 0x1p62) {
    return static_cast<int64_t>(value * unit);
  }
  return absl::InvalidArgumentError(absl::StrCat(
      text, ": not an amount of memory; use e.g. 141GiB or 80GB (units: B, kB, KiB, MB, MiB, GB, GiB, TB, TiB)"));
}

std::string HumanCount(int64_t value) {
  std::string digits = absl::StrCat(value);
  for (int64_t at = static_cast<int64_t>(digits.size()) - 3; at > (value < 0); at -= 3) digits.insert(at, 1, ',');
  return digits;
}

std::string HumanDuration(double seconds) {
  const int64_t s = std::lround(seconds);
  if (s >= 3600) return absl::StrFormat("%dh%02dm", s / 3600, s / 60 % 60);
  if (s >= 60) return absl::StrFormat("%dm%02ds", s / 60, s % 60);
  return absl::StrCat(s, "s");
}

}  // namespace photon
