#include "inference/server/histogram.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace photon {

void Histogram::Add(double seconds) {
  const auto bucket = std::lower_bound(kBounds.begin(), kBounds.end(), seconds) - kBounds.begin();
  ++counts_[static_cast<size_t>(bucket)];
  sum_ += seconds;
}

std::string Histogram::Text(const std::string& name, const std::string& help) const {
  std::string text = absl::StrCat("# HELP ", name, " ", help, "\n# TYPE ", name, " histogram\n");
  int64_t count = 0;
  for (size_t i = 0; i < kBounds.size(); ++i) {
    count += counts_[i];
    absl::StrAppend(&text, name, "_bucket{le=\"", kBounds[i], "\"} ", count, "\n");
  }
  count += counts_.back();
  absl::StrAppend(&text, name, "_bucket{le=\"+Inf\"} ", count, "\n", name, "_sum ", absl::StrFormat("%.15g", sum_),
                  "\n", name, "_count ", count, "\n");
  return text;
}

}  // namespace photon
