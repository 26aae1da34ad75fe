// The validation sequences of a rank.
#pragma once

#include <vector>

#include "configs/training.pb.h"
#include "core/status.h"
#include "data/dataset.h"

namespace photon {

// How many sequences of the split are scored each time: valid_sequences, or all of it where that is 0 or more than
// there are.
int64_t ValidationSequences(const Dataset& valid, const TrainingConfig& training);

// This rank's part of them, in micro-batches: contiguous parts whose union is the same for any number of ranks.
absl::StatusOr<std::vector<TokenBatch>> ValidationBatches(const Dataset& valid, const TrainingConfig& training,
                                                          int rank, int ranks);

}  // namespace photon
