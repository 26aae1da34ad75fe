#include "data/unigram.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

namespace photon {

UnigramCounts::UnigramCounts(std::vector<int64_t> counts)
    : counts_(std::move(counts)), total_(std::accumulate(counts_.begin(), counts_.end(), int64_t{0})) {}

void UnigramCounts::Add(const UnigramCounts& other) {
  counts_.resize(std::max(counts_.size(), other.counts_.size()));
  for (size_t id = 0; id < other.counts_.size(); ++id) counts_[id] += other.counts_[id];
  total_ += other.total_;
}

void UnigramCounts::Add(absl::Span<const int32_t> ids) {
  if (ids.empty()) return;
  const size_t largest = *std::max_element(ids.begin(), ids.end());
  if (largest >= counts_.size()) counts_.resize(largest + 1);
  for (int32_t id : ids) ++counts_[id];
  total_ += static_cast<int64_t>(ids.size());
}

double UnigramCounts::Entropy() const {
  double entropy = 0;
  for (int64_t count : counts_) {
    if (count == 0) continue;
    const double p = static_cast<double>(count) / static_cast<double>(total_);
    entropy -= p * std::log(p);
  }
  return entropy;
}

absl::Status AddScoredTokens(const Dataset& dataset, int64_t samples, UnigramCounts* counts) {
  std::vector<int32_t> scored;
  const int64_t last = samples > 0 ? std::min(samples, dataset.samples()) : dataset.samples();
  for (int64_t k = 0; k < last; ++k) {
    PHOTON_ASSIGN_OR_RETURN(const TokenBatch batch, dataset.Samples(k, 1));
    scored.clear();
    for (size_t i = 0; i < batch.tokens.size(); ++i) {
      if (batch.scored[i]) scored.push_back(batch.tokens[i]);
    }
    counts->Add(scored);
  }
  return absl::OkStatus();
}

}  // namespace photon
