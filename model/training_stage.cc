#include "model/training_stage.h"

namespace photon {

void TrainingStage::BeginStep(std::vector<const ModelInput*> inputs, const Tensor& sums, GradientHooks hooks) {
  inputs_ = std::move(inputs);
  sums_ = sums;
  hooks_ = std::move(hooks);
  tapes_.clear();
}

Stage::Values TrainingStage::Forward(int microbatch, int segment, Values inputs, bool last) {
  PHOTON_CHECK(segment == 0 && inputs.empty()) << "a whole model takes no inputs from other stages";
  auto tape = std::make_unique<Tape>(context_, Tape::Mode::kRecord);
  tape->on_gradient_needed(hooks_.needed);
  if (last || hooks_.each_microbatch) tape->on_gradient_complete(hooks_.complete);
  const ModelInput& input = *inputs_[microbatch];
  AddLoss(context_, input, ComputeLoss(model_, *tape, input, objective_, options_), sums_);
  tapes_[microbatch] = std::move(tape);
  return {};
}

Stage::Values TrainingStage::Backward(int microbatch, int segment, Values output_gradients, bool split_weights) {
  PHOTON_CHECK(segment == 0 && output_gradients.empty());
  if (split_weights) {
    tapes_.at(microbatch)->BackwardInputs();
  } else {
    tapes_.at(microbatch)->Backward();
    tapes_.erase(microbatch);
  }
  return {};
}

void TrainingStage::WeightGradients(int microbatch, int segment) {
  tapes_.at(microbatch)->BackwardWeights();
  tapes_.erase(microbatch);
}

}  // namespace photon
