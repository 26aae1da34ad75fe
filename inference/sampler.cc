#include "inference/sampler.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "absl/strings/str_cat.h"
#include "core/random.h"

namespace photon {
namespace {

// Ids by falling logit, ties by rising id; only the first `count` in order.
std::vector<int32_t> MostLikely(absl::Span<const double> logits, size_t count) {
  std::vector<int32_t> ids(logits.size());
  std::iota(ids.begin(), ids.end(), 0);
  const auto before = [&](int32_t a, int32_t b) { return logits[a] != logits[b] ? logits[a] > logits[b] : a < b; };
  std::partial_sort(ids.begin(), ids.begin() + static_cast<int64_t>(count), ids.end(), before);
  ids.resize(count);
  return ids;
}

}  // namespace

absl::Status ValidateSampling(const SamplingOptions& options) {
  if (!(options.temperature >= 0) || std::isinf(options.temperature)) {
    return absl::InvalidArgumentError(
        absl::StrCat("temperature is ", options.temperature, ": give a number from 0 (greedy) upward, such as 0.8"));
  }
  if (options.top_k < 0) {
    return absl::InvalidArgumentError(absl::StrCat("top-k is ", options.top_k, ": give 0 (off) or more"));
  }
  if (!(options.top_p > 0 && options.top_p <= 1)) {
    return absl::InvalidArgumentError(
        absl::StrCat("top-p is ", options.top_p, ": give a number in (0, 1], 1 being off"));
  }
  return absl::OkStatus();
}

int32_t Greedy(absl::Span<const double> logits) {
  return static_cast<int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());  // the first of equals
}

int32_t Sample(absl::Span<const double> logits, const SamplingOptions& options, int64_t index) {
  if (options.temperature == 0) return Greedy(logits);
  std::vector<int32_t> ids;
  const bool limited = options.top_k > 0 && options.top_k < static_cast<int64_t>(logits.size());
  if (limited || options.top_p < 1) {
    ids = MostLikely(logits, limited ? options.top_k : logits.size());
  } else {
    ids.resize(logits.size());
    std::iota(ids.begin(), ids.end(), 0);
  }
  const double largest = logits[Greedy(logits)];
  std::vector<double> cumulative(ids.size());
  double sum = 0;
  for (size_t i = 0; i < ids.size(); ++i) {
    sum += std::exp((logits[ids[i]] - largest) / options.temperature);
    cumulative[i] = sum;
  }
  if (options.top_p < 1) {
    const auto reached = std::lower_bound(cumulative.begin(), cumulative.end(), options.top_p * sum);
    cumulative.resize(std::min<size_t>(reached - cumulative.begin() + 1, cumulative.size()));
    sum = cumulative.back();
  }
  const double draw = Philox(options.seed, StableHash("sampling")).Uniform(static_cast<uint64_t>(index)) * sum;
  const auto chosen = std::upper_bound(cumulative.begin(), cumulative.end(), draw);
  return ids[std::min<size_t>(chosen - cumulative.begin(), cumulative.size() - 1)];
}

}  // namespace photon
