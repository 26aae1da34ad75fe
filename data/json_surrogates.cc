#include "data/json_surrogates.h"

#include <algorithm>

#include "absl/strings/ascii.h"

namespace photon {
namespace {

// The value of an escape \uXXXX that `json` begins with; -1 where it does not.
int EscapedUnit(absl::string_view json) {
  if (json.size() < 6 || json[0] != '\\' || json[1] != 'u') return -1;
  int value = 0;
  for (const char digit : json.substr(2, 4)) {
    if (!absl::ascii_isxdigit(digit)) return -1;
    value = 16 * value + (absl::ascii_isdigit(digit) ? digit - '0' : absl::ascii_tolower(digit) - 'a' + 10);
  }
  return value;
}

}  // namespace

std::string ReplaceHalfSurrogatePairs(absl::string_view json) {
  const auto is_high = [](int unit) { return unit >= 0xD800 && unit < 0xDC00; };
  const auto is_low = [](int unit) { return unit >= 0xDC00 && unit < 0xE000; };
  std::string whole;
  while (!json.empty()) {
    size_t count = std::min(json.find('\\'), json.size());
    if (count == 0) {
      const int unit = EscapedUnit(json);
      const bool pair = is_high(unit) && is_low(EscapedUnit(json.substr(6)));
      if (!pair && (is_high(unit) || is_low(unit))) {
        whole += "\\ufffd";
        json.remove_prefix(6);
        continue;
      }
      count = std::min<size_t>(pair ? 12 : 2, json.size());  // 2: the character after is not an escape's begin
    }
    whole.append(json.data(), count);
    json.remove_prefix(count);
  }
  return whole;
}

}  // namespace photon
