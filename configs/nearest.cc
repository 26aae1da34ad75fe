#include "configs/nearest.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace photon {

int EditDistance(absl::string_view a, absl::string_view b) {
  const size_t columns = b.size() + 1;
  std::vector<int> table((a.size() + 1) * columns);
  const auto at = [&](size_t i, size_t j) -> int& { return table[i * columns + j]; };
  for (size_t i = 0; i <= a.size(); ++i) at(i, 0) = static_cast<int>(i);
  for (size_t j = 0; j <= b.size(); ++j) at(0, j) = static_cast<int>(j);
  for (size_t i = 1; i <= a.size(); ++i) {
    for (size_t j = 1; j <= b.size(); ++j) {
      at(i, j) = std::min({at(i - 1, j) + 1, at(i, j - 1) + 1, at(i - 1, j - 1) + (a[i - 1] != b[j - 1])});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
        at(i, j) = std::min(at(i, j), at(i - 2, j - 2) + 1);
      }
    }
  }
  return at(a.size(), b.size());
}

std::string DidYouMean(absl::string_view unknown, const std::vector<std::string>& known) {
  if (known.empty()) return "";
  const std::string lower = absl::AsciiStrToLower(unknown);
  const auto distance = [&](const std::string& name) { return EditDistance(lower, absl::AsciiStrToLower(name)); };
  const std::string& nearest = *std::min_element(
      known.begin(), known.end(), [&](const auto& a, const auto& b) { return distance(a) < distance(b); });
  // Farther than half of its letters away, a name is no likely misspelling, and naming it would mislead.
  if (distance(nearest) * 2 > static_cast<int>(std::max(nearest.size(), unknown.size()))) {
    return absl::StrCat("; known: ", absl::StrJoin(known, ", "));
  }
  return absl::StrCat("; did you mean \"", nearest, "\"?");
}

}  // namespace photon
