// The training batches of one rank, prepared ahead of time by a thread of its own.
//
// What Next returns is a pure function of the source, the step and (rank, ranks): rank r of R gets sequences
// [r B / R, (r + 1) B / R) of the global batch, cut into microbatches.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "core/status.h"
#include "core/token_batch.h"
#include "data/batch_source.h"

namespace photon {

struct LoaderOptions {
  int64_t batch_sequences = 0;        // B, of a step over all ranks
  int64_t micro_batch_sequences = 0;  // per rank and pass; 0: all of a rank's
  int64_t rank = 0;                   // among those that hold different data
  int64_t ranks = 1;
  int64_t steps_ahead = 2;  // prepared in advance
};

// All that a rank computes on in a step. The counts that means are divided by can be summed before the first pass.
struct StepData {
  int64_t step = 0;
  std::vector<TokenBatch> microbatches;
};

class Loader {
 public:
  // kInvalidArgument where batch_sequences is not a multiple of ranks, or a rank's share not of micro_batch_sequences.
  static absl::StatusOr<std::unique_ptr<Loader>> Create(std::shared_ptr<const BatchSource> source,
                                                        const LoaderOptions& options);
  ~Loader();

  // The next step's data; steps count from 0 or from the last Seek. An error (a broken token file) stays.
  absl::StatusOr<StepData> Next();
  void Seek(int64_t step);

 private:
  Loader(std::shared_ptr<const BatchSource> source, const LoaderOptions& options);
  absl::StatusOr<StepData> Prepare(int64_t step) const;
  // Nothing may leave the thread but by Next().
  absl::StatusOr<StepData> PrepareGuarded(int64_t step) const;
  void Run();

  const std::shared_ptr<const BatchSource> source_;
  const LoaderOptions options_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<absl::StatusOr<StepData>> ready_;
  int64_t next_to_prepare_ = 0;
  int64_t seeks_ = 0;  // data prepared before a Seek is thrown away
  bool stopping_ = false;
  std::thread thread_;  // last: it uses the others
};

}  // namespace photon
