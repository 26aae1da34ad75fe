// Unigram entropy: what a model reaches that knows how often each token occurs and nothing else. A trained model's
// validation loss is worth printing only beside it.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "core/status.h"
#include "data/dataset.h"

namespace photon {

class UnigramCounts {
 public:
  UnigramCounts() = default;
  explicit UnigramCounts(std::vector<int64_t> counts);  // of ids 0, 1, ..
  const std::vector<int64_t>& counts() const { return counts_; }
  void Add(const UnigramCounts& other);
  void Add(absl::Span<const int32_t> ids);  // ids >= 0
  int64_t total() const { return total_; }
  int64_t max_id() const { return static_cast<int64_t>(counts_.size()) - 1; }  // -1: none
  double Entropy() const;                                                      // nats per token; 0 for none

 private:
  std::vector<int64_t> counts_;
  int64_t total_ = 0;
};

// Adds the scored tokens of the first `samples` samples (0: all), which are the tokens that the loss is a mean of.
absl::Status AddScoredTokens(const Dataset& dataset, int64_t samples, UnigramCounts* counts);

}  // namespace photon
