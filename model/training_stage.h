// A whole model as one pipeline stage: what the trainer drives.
#pragma once

#include <map>
#include <memory>
#include <vector>

#include "model/objective.h"
#include "parallel/stage.h"

namespace photon {

class TrainingStage final : public Stage {
 public:
  TrainingStage(const LanguageModel& model, const Context& context, const ObjectiveConfig& objective,
                const ForwardOptions& options)
      : model_(model), context_(context), objective_(objective), options_(options) {}

  // Before the first Forward of a step. `inputs` [microbatch] stay until the last of their gradients; what each sums up
  // to is added to `sums` f64 [1 + L] (model/objective.h). `hooks.complete` fires in the last microbatch, or in each.
  void BeginStep(std::vector<const ModelInput*> inputs, const Tensor& sums, GradientHooks hooks);

  Values Forward(int microbatch, int segment, Values inputs, bool last) override;
  Values Backward(int microbatch, int segment, Values output_gradients, bool split_weights) override;
  void WeightGradients(int microbatch, int segment) override;

 private:
  const LanguageModel& model_;
  const Context& context_;
  ObjectiveConfig objective_;
  ForwardOptions options_;
  std::vector<const ModelInput*> inputs_;
  Tensor sums_;
  GradientHooks hooks_;
  std::map<int, std::unique_ptr<Tape>> tapes_;  // of microbatches between Forward and their last gradient
};

}  // namespace photon
