// An endless sequence of training samples, cut into batches.
#pragma once

#include <cstdint>

#include "core/status.h"
#include "core/token_batch.h"

namespace photon {

// Batch n is a pure function of the source and n, whoever asks. Any thread may ask.
class BatchSource {
 public:
  virtual ~BatchSource() = default;
  // Sequences [first, first + count) of global batch `step`, which has `batch_sequences` of them.
  virtual absl::StatusOr<TokenBatch> Batch(int64_t step, int64_t batch_sequences, int64_t first,
                                           int64_t count) const = 0;
  // kFailedPrecondition, naming the file, where one is not what it was when the source was opened.
  virtual absl::Status CheckUnchanged() const = 0;
};

}  // namespace photon
