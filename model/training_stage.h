// What a rank runs of a model: all of it, or its pieces in a pipeline.
#pragma once

#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "model/objective.h"
#include "parallel/pipeline/layout.h"
#include "parallel/stage.h"

namespace photon {

class TrainingStage final : public Stage {
 public:
  // `layout`: of the pipeline, with whose stages the model was made (ModelLayout::SetStages); null: the whole model is
  // segment 0, and takes and gives nothing.
  TrainingStage(const LanguageModel& model, const Context& context, const ObjectiveConfig& objective,
                const ForwardOptions& options, const pipeline::Layout* layout = nullptr);

  // Before the first Forward of a step. `inputs` [microbatch] stay until the last of their gradients; what each sums up
  // to is added to `sums` f64 [1 + L] (model/objective.h). `hooks.complete` fires in the last microbatch, or in each.
  // With kEvaluate there is no backward pass.
  void BeginStep(std::vector<const ModelInput*> inputs, const Tensor& sums, GradientHooks hooks,
                 Tape::Mode mode = Tape::Mode::kRecord);

  Values Forward(int microbatch, int segment, Values inputs, bool last) override;
  Values Backward(int microbatch, int segment, Values output_gradients, bool split_weights) override;
  void WeightGradients(int microbatch, int segment) override;

 private:
  // A segment of a microbatch between Forward and its last gradient.
  struct Pass {
    std::unique_ptr<Tape> tape;
    std::vector<Var> inputs, outputs;  // [edge]
  };
  using Key = std::pair<int, int>;  // microbatch, segment

  const LanguageModel& model_;
  const Context& context_;
  ObjectiveConfig objective_;
  ForwardOptions options_;
  const pipeline::Layout layout_;
  std::vector<const ModelInput*> inputs_;
  Tensor sums_;
  GradientHooks hooks_;
  Tape::Mode mode_ = Tape::Mode::kRecord;
  std::map<Key, Pass> passes_;
};

}  // namespace photon
