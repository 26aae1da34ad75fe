// The pieces of a model that one rank of a pipeline runs.
#pragma once

#include <map>
#include <memory>
#include <vector>

#include "model/objective.h"
#include "parallel/pipeline/executor.h"
#include "parallel/pipeline/layout.h"
#include "parallel/stage.h"

namespace photon {

class PipelineStage final : public Stage {
 public:
  // `model` was made with the stages of `layout` (ModelLayout::SetStages), which outlives this.
  PipelineStage(const LanguageModel& model, const Context& context, const ObjectiveConfig& objective,
                const ForwardOptions& options, const pipeline::Layout& layout)
      : model_(model), context_(context), objective_(objective), options_(options), layout_(layout) {}

  // As TrainingStage::BeginStep. With kEvaluate there is no backward pass.
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
  const pipeline::Layout& layout_;
  std::vector<const ModelInput*> inputs_;
  Tensor sums_;
  GradientHooks hooks_;
  Tape::Mode mode_ = Tape::Mode::kRecord;
  std::map<Key, Pass> passes_;
};

// The shapes of what goes over the layout's edges for microbatches like `input`.
pipeline::EdgeForms FormsOf(const LanguageModel& model, const ModelInput& input, const pipeline::Layout& layout);

}  // namespace photon
