// The training objective: loss = CE + alpha * L_rec (spec, section 4).
#pragma once

#include <vector>

#include "configs/training.pb.h"
#include "model/language_model.h"
#include "model/model_input.h"

namespace photon {

// Numbers of terms in each mean. Means are over the global batch of a step: add up over microbatches and ranks first.
struct LossCounts {
  int64_t tokens = 0;          // scored tokens
  std::vector<int64_t> units;  // [l - 1], l = 1..L: level-(l-1) units that hold a real token
  static LossCounts Of(const ModelConfig& config, const TokenBatch& batch);
  void Add(const LossCounts& other);
  // Of the gradient of sum nll / tokens + alpha * sum_l (sum of distances_l / units[l]).
  LossScales Scales(const ObjectiveConfig& objective) const;
};

// Of this rank's rows of one batch, on the device.
struct LossRows {
  Tensor nll;                     // [rows], 0 where the row scores nothing; undefined without the head
  std::vector<Tensor> distances;  // [l - 1]: 1 - cos per level-(l-1) unit; undefined where not computed
};

// Runs the forward pass and, while recording, contributes the gradient of the loss, as the input's scales have it, to
// `tape` (whose Backward() the caller runs).
LossRows ComputeLoss(const LanguageModel& model, Tape& tape, const ModelInput& input, const ObjectiveConfig& objective,
                     const ForwardOptions& options);

// The same of items [begin, end) of the model's chain, on what `passage` brings from those before: the rows of the
// terms that these items compute.
LossRows ComputeLossOfItems(const LanguageModel& model, Tape& tape, const ModelInput& input,
                            const ObjectiveConfig& objective, const ForwardOptions& options, int begin, int end,
                            LanguageModel::Passage* passage, const LanguageModel::AfterItem& done = {});

// sums f64 [1 + L] += each mean's numerator: the sum of nll, then of distances_l over units with a real token. Over all
// ranks that share a batch every row is added once.
void AddLoss(const Context& context, const ModelInput& input, const LossRows& rows, const Tensor& sums);

}  // namespace photon
