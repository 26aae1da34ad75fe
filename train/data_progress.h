// How far a run's steps go through its data: epochs, the end of the data, and whether the data are the ones it began
// with.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "configs/checkpoint.pb.h"
#include "configs/run.pb.h"
#include "core/status.h"
#include "data/training_data.h"

namespace photon {

class DataProgress {
 public:
  // kInvalidArgument where data.at_end is STOP and a source has less than its part of the first batch.
  static absl::StatusOr<DataProgress> Create(const RunConfig& config, std::shared_ptr<const TrainingData> data);

  // The run's last step: training.steps, or before it where the data end and data.at_end is STOP.
  int64_t last_step() const { return last_step_; }
  bool ends_early() const { return last_step_ < steps_; }

  // A line a source: "Pile-CC: 12000 samples of 1024 tokens, 70 % of the batches; 400 steps are 0.53 epochs".
  // Where the data end before training.steps, one more that says so.
  std::vector<std::string> Plan() const;
  // "epoch 2 of Pile-CC begins", for all that begin in the batch of `step` (from 1).
  std::vector<std::string> EpochsBegun(int64_t step) const;

  // What the training data are known by again.
  absl::StatusOr<std::vector<DataFile>> Identify() const;

 private:
  DataProgress(const RunConfig& config, std::shared_ptr<const TrainingData> data);

  std::shared_ptr<const TrainingData> data_;
  int64_t steps_ = 0, batch_sequences_ = 0, last_step_ = 0;
};

// Name and fingerprint of the token file, all that tells it from others.
absl::StatusOr<DataFile> Identified(const NamedDataset& data);

// Where a run began with `began`: "token file /new is not the one that the run began with (/old)" and the like. Empty
// where `now` are the same, or `began` is empty: a checkpoint that tells no data.
std::string DataDifference(const std::vector<DataFile>& began, const std::vector<DataFile>& now);

// kFailedPrecondition, naming the source, where a run that began with `began` would go on with other data.
absl::Status CheckSameData(const std::vector<DataFile>& began, const std::vector<DataFile>& now);

}  // namespace photon
