// The validation sequences of a rank.
#pragma once

#include <string>
#include <vector>

#include "configs/training.pb.h"
#include "core/status.h"
#include "data/training_data.h"

namespace photon {

// How many sequences of a split are scored each time: valid_sequences, or all of it where that is 0 or more than there
// are.
int64_t ValidationSequences(const Dataset& valid, const TrainingConfig& training);

// The same for several splits, which share valid_sequences as `shares` says (they add up to 1): at least one each.
std::vector<int64_t> ValidationSequences(const std::vector<NamedDataset>& valid, const std::vector<double>& shares,
                                         const TrainingConfig& training);

// This rank's part of the first `sequences`, in micro-batches: contiguous parts whose union is the same for any number
// of ranks.
absl::StatusOr<std::vector<TokenBatch>> ValidationBatches(const Dataset& valid, int64_t sequences, int micro_batch,
                                                          int rank, int ranks);
absl::StatusOr<std::vector<TokenBatch>> ValidationBatches(const Dataset& valid, const TrainingConfig& training,
                                                          int rank, int ranks);

// What a run validates on: each split's batches of this rank.
struct ValidationSet {
  std::vector<std::string> names;
  std::vector<std::vector<TokenBatch>> batches;  // of each
  double unigram_entropy = 0;                    // of the scored tokens of all, nats per token
};
// Shares are those of the blend, where the splits are held out of its sources (of all, or of some).
absl::StatusOr<ValidationSet> OpenValidation(const std::vector<NamedDataset>& valid, const Blend& blend,
                                             const TrainingConfig& training, int rank, int ranks);

}  // namespace photon
