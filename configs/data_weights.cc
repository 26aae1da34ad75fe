#include "configs/data_weights.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "configs/checks.h"

namespace photon {
namespace {

constexpr double kRounding = 1e-3 + 1e-9;  // of shares written with three digits, and of their sum in binary

struct Weight {
  std::string field;
  bool given = false;
  double value = 0;
};

absl::Status ValidateWeights(const std::vector<Weight>& weights) {
  const auto first = std::find_if(weights.begin(), weights.end(), [](const Weight& w) { return w.given; });
  if (first == weights.end()) return absl::OkStatus();
  double sum = 0, largest = 0;
  for (const Weight& weight : weights) {
    if (!weight.given) {
      return absl::InvalidArgumentError(absl::StrCat(weight.field, " is missing, but ", first->field,
                                                     " is given: give all sources a weight, or none (then each has as "
                                                     "many samples as its tokens make)"));
    }
    if (absl::Status s = AtLeast(weight.field, weight.value, 0); !s.ok()) return s;
    sum += weight.value;
    largest = std::max(largest, weight.value);
  }
  if (largest == 0) return Refuse(first->field, 0, "and all others are 0", "give one source a weight");
  if (largest < 1 && !(std::abs(sum - 1) <= kRounding)) {
    return absl::InvalidArgumentError(absl::StrCat("the weights from ", first->field, " on add up to ", sum,
                                                   ": shares add up to 1; or give parts, of which one is 1 or more "
                                                   "(7 and 3)"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status ValidateSources(const DataConfig& data) {
  if (data.train().empty() && data.source_size() == 0) {
    return absl::InvalidArgumentError(
        "data.train is missing: give the PREFIX of PREFIX.bin and PREFIX.idx that `photon prepare --out PREFIX` wrote, "
        "or several with data { source { prefix: .. } source { .. } }");
  }
  if (!data.train().empty() && data.source_size() > 0) {
    return absl::InvalidArgumentError(
        "data.train and data.source are both given: make data.train one of the sources, or remove them");
  }
  if (data.train().empty() && data.set_weight_size() > 0) {
    return absl::InvalidArgumentError(
        "data.set_weight goes with data.train, a set prepared with --split-by-source: weights of data.source stand in "
        "each source");
  }
  std::vector<Weight> weights;
  std::set<std::string> seen;
  for (int i = 0; i < data.source_size(); ++i) {
    const DataSource& source = data.source(i);
    const std::string at = absl::StrCat("data.source.", i, ".");
    if (source.prefix().empty()) return absl::InvalidArgumentError(absl::StrCat(at, "prefix is missing"));
    if (!seen.insert(source.prefix()).second) {
      return Refuse(at + "prefix", source.prefix(), "is named twice", "give it once, with the sum of the weights");
    }
    weights.push_back({at + "weight", source.has_weight(), source.weight()});
  }
  for (int i = 0; i < data.set_weight_size(); ++i) {
    const SetWeight& set = data.set_weight(i);
    const std::string at = absl::StrCat("data.set_weight.", i, ".");
    if (set.name().empty()) return absl::InvalidArgumentError(absl::StrCat(at, "name is missing"));
    if (!seen.insert(set.name()).second) return Refuse(at + "name", set.name(), "is named twice", "give it once");
    weights.push_back({at + "weight", set.has_weight(), set.weight()});
    if (!set.has_weight()) return absl::InvalidArgumentError(absl::StrCat(at, "weight is missing"));
  }
  return ValidateWeights(weights);
}

}  // namespace photon
