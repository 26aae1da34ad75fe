// Runs the microbatches of a step through a model that is cut over the pp ranks.
#pragma once

#include <map>
#include <vector>

#include "model/pipeline_plan.h"
#include "model/training_stage.h"
#include "parallel/mesh.h"

namespace photon {

class TrainingPipeline {
 public:
  // `plan` is that of the config, `model` made with its stages; all outlive this.
  TrainingPipeline(const RunConfig& config, const PipelinePlan& plan, const LanguageModel& model, const Mesh& mesh,
                   const Context& context)
      : plan_(plan),
        model_(model),
        pp_(mesh.axis(MeshAxis::kPp)),
        context_(context),
        stage_(model, context, config.training().objective(), ForwardOf(config.training()), &plan.layout) {}

  // Forward and backward of all microbatches, which have one form. Adds to `sums` what this rank's items compute of the
  // losses. Collective. An error leaves nobody to go on: the job has to end.
  absl::Status Accumulate(std::vector<const ModelInput*> inputs, const Tensor& sums, GradientHooks hooks);
  // Values alone.
  absl::Status Evaluate(std::vector<const ModelInput*> inputs, const Tensor& sums);

  static ForwardOptions ForwardOf(const TrainingConfig& training) {
    return {.slice_tokens = training.slice_tokens(), .recompute = training.recompute()};
  }

 private:
  const PipelinePlan& plan_;
  const LanguageModel& model_;
  Communicator& pp_;
  const Context& context_;
  TrainingStage stage_;
  std::map<int, pipeline::Schedule> forward_;  // by number of microbatches
};

}  // namespace photon
