#include "model/training_stage.h"

namespace photon {

void TrainingStage::BeginStep(std::vector<const ModelInput*> inputs, const Tensor& sums, Tape::GradientHook hook) {
  inputs_ = std::move(inputs);
  sums_ = sums;
  hook_ = std::move(hook);
  tapes_.clear();
}

std::vector<Tensor> TrainingStage::Forward(int microbatch, std::vector<Tensor> inputs, bool last) {
  PHOTON_CHECK(inputs.empty()) << "a whole model takes no inputs from other stages";
  auto tape = std::make_unique<Tape>(context_, Tape::Mode::kRecord);
  if (last && hook_) tape->on_gradient_complete(hook_);
  const ModelInput& input = *inputs_[microbatch];
  AddLoss(context_, input, ComputeLoss(model_, *tape, input, objective_, options_), sums_);
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

}  // namespace photon
