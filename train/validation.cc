#include "train/validation.h"

#include <algorithm>

namespace photon {

int64_t ValidationSequences(const Dataset& valid, const TrainingConfig& training) {
  const int64_t wanted = training.valid_sequences();
  return wanted > 0 ? std::min(wanted, valid.samples()) : valid.samples();
}

absl::StatusOr<std::vector<TokenBatch>> ValidationBatches(const Dataset& valid, const TrainingConfig& training,
                                                          int rank, int ranks) {
  const int64_t sequences = ValidationSequences(valid, training);
  const int64_t end = sequences * (rank + 1) / ranks;
  std::vector<TokenBatch> batches;
  for (int64_t first = sequences * rank / ranks; first < end; first += training.micro_batch_sequences()) {
    const int64_t count = std::min<int64_t>(training.micro_batch_sequences(), end - first);
    PHOTON_ASSIGN_OR_RETURN(TokenBatch batch, valid.Samples(first, count));
    batches.push_back(std::move(batch));
  }
  return batches;
}

}  // namespace photon
