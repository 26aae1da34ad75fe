#include "train/training_pipeline.h"

#include <utility>

#include "model/edge_forms.h"
#include "parallel/pipeline/executor.h"

namespace photon {

absl::Status TrainingPipeline::Accumulate(std::vector<const ModelInput*> inputs, const Tensor& sums,
                                          GradientHooks hooks) {
  const pipeline::EdgeForms forms = FormsOf(model_, *inputs[0], plan_.layout);
  stage_.BeginStep(std::move(inputs), sums, std::move(hooks));
  return pipeline::RunSchedule(plan_.layout, plan_.schedule, forms, pp_, context_, stage_).status();
}

absl::Status TrainingPipeline::Evaluate(std::vector<const ModelInput*> inputs, const Tensor& sums) {
  const auto microbatches = static_cast<int>(inputs.size());
  const auto [schedule, made] = forward_.try_emplace(microbatches);
  if (made) {
    PHOTON_ASSIGN_OR_RETURN(schedule->second, pipeline::MakeSchedule(plan_.layout, {.order = pipeline::Order::kGpipe,
                                                                                    .microbatches = microbatches}));
    schedule->second = pipeline::ForwardOnly(std::move(schedule->second));
  }
  const pipeline::EdgeForms forms = FormsOf(model_, *inputs[0], plan_.layout);
  stage_.BeginStep(std::move(inputs), sums, {}, Tape::Mode::kEvaluate);
  return pipeline::RunSchedule(plan_.layout, schedule->second, forms, pp_, context_, stage_).status();
}

}  // namespace photon
