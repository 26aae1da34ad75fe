// All that a run trains on: one token file or several that are blended.
//
// Sample n is the next one of the source that the blend gives it (data/blend.h), each source running through its epochs
// in orders of its own: a pure function of (seed, n). Immutable: any thread may read.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/status.h"
#include "data/batch_source.h"
#include "data/blend.h"
#include "data/dataset.h"

namespace photon {

struct NamedDataset {
  std::string name;  // pile_set_name, or the PREFIX
  std::shared_ptr<const Dataset> dataset;
  int source = -1;  // held out: of this training source
};

class TrainingData : public BatchSource {
 public:
  // Sources share their options but for the seed; `blend` has as many. At least one.
  TrainingData(std::vector<NamedDataset> sources, std::shared_ptr<const Blend> blend);

  absl::StatusOr<TokenBatch> Batch(int64_t step, int64_t batch_sequences, int64_t first, int64_t count) const override;
  absl::Status CheckUnchanged() const override;

  const std::vector<NamedDataset>& sources() const { return sources_; }
  const Blend& blend() const { return *blend_; }
  const DatasetOptions& options() const { return sources_[0].dataset->options(); }

  // How many whole batches there are before a source would have to begin its second epoch.
  int64_t StepsOfOneEpoch(int64_t batch_sequences) const;
  // Epochs (fractions too) of a source in the first `steps` batches.
  double Epochs(int source, int64_t steps, int64_t batch_sequences) const;
  // Second and later epochs that begin inside batch `step`.
  struct EpochBegin {
    int source = 0;
    int64_t epoch = 0;  // from 0
  };
  std::vector<EpochBegin> EpochsBegun(int64_t step, int64_t batch_sequences) const;

 private:
  std::vector<NamedDataset> sources_;
  std::shared_ptr<const Blend> blend_;
};

}  // namespace photon
