// The training objective: loss = CE + alpha * L_rec (spec, section 4).
#pragma once

#include <vector>

#include "configs/training.pb.h"
#include "model/language_model.h"

namespace photon {

// Numbers of terms in each mean. Means are over the global batch of a step: add up over microbatches and ranks first.
struct LossCounts {
  int64_t tokens = 0;          // scored tokens
  std::vector<int64_t> units;  // [l - 1], l = 1..L: level-(l-1) units that hold a real token
  static LossCounts Of(const ModelConfig& config, const TokenBatch& batch);
  void Add(const LossCounts& other);
};

// Sums over the rows of one batch, on the device until read.
struct LossRows {
  Tensor nll;                     // [rows], 0 where the row scores nothing
  std::vector<Tensor> distances;  // [l - 1]: 1 - cos per level-(l-1) unit; undefined where not computed
};

// Runs the forward pass and, while recording, contributes the gradient of
//   sum nll / counts.tokens + alpha * sum_l (sum of distances_l / counts.units[l])
// to `tape` (whose Backward() the caller runs).
LossRows ComputeLoss(const LanguageModel& model, Tape& tape, const TokenBatch& batch, const ObjectiveConfig& objective,
                     const LossCounts& counts, const ForwardOptions& options);

// The same as doubles on the host: each mean's numerator.
struct LossSums {
  double nll = 0;
  std::vector<double> distances;  // [l - 1]; units without a real token left out
};
LossSums SumLoss(const Context& context, const LanguageModel& model, const TokenBatch& batch, const LossRows& rows);

}  // namespace photon
