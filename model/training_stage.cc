#include "model/training_stage.h"

namespace photon {

void TrainingStage::BeginStep(std::vector<TokenBatch> microbatches, LossCounts counts, Tape::GradientHook hook) {
  microbatches_ = std::move(microbatches);
  counts_ = std::move(counts);
  hook_ = std::move(hook);
  tapes_.clear();
  rows_.assign(microbatches_.size(), {});
}

std::vector<Tensor> TrainingStage::Forward(int microbatch, std::vector<Tensor> inputs, bool last) {
  PHOTON_CHECK(inputs.empty()) << "a whole model takes no inputs from other stages";
  auto tape = std::make_unique<Tape>(context_, Tape::Mode::kRecord);
  if (last && hook_) tape->on_gradient_complete(hook_);
  rows_[microbatch] = ComputeLoss(model_, *tape, microbatches_[microbatch], objective_, counts_, options_);
  tapes_[microbatch] = std::move(tape);
  return {};
}

std::vector<Tensor> TrainingStage::Backward(int microbatch, std::vector<Tensor> output_gradients, bool split_weights) {
  PHOTON_CHECK(output_gradients.empty());
  if (split_weights) {
    tapes_.at(microbatch)->BackwardInputs();
  } else {
    tapes_.at(microbatch)->Backward();
    tapes_.erase(microbatch);
  }
  return {};
}

void TrainingStage::WeightGradients(int microbatch) {
  tapes_.at(microbatch)->BackwardWeights();
  tapes_.erase(microbatch);
}

LossSums TrainingStage::Sums() const {
  LossSums total{.nll = 0, .distances = std::vector<double>(model_.levels())};
  for (size_t i = 0; i < rows_.size(); ++i) {
    const LossSums sums = SumLoss(context_, model_, microbatches_[i], rows_[i]);
    total.nll += sums.nll;
    for (size_t l = 0; l < sums.distances.size(); ++l) total.distances[l] += sums.distances[l];
  }
  return total;
}

}  // namespace photon
