// One run's state and its step, apart from where batches come from and when to save.
#pragma once

#include <map>
#include <memory>
#include <vector>

#include "absl/types/span.h"
#include "configs/run.pb.h"
#include "core/allocator.h"
#include "model/training_stage.h"
#include "parallel/mesh.h"
#include "train/gradient_norm.h"
#include "train/gradient_reducer.h"
#include "train/health.h"
#include "train/metrics.h"
#include "train/optimizer.h"
#include "train/replay.h"
#include "train/training_pipeline.h"

namespace photon {

class Trainer {
 public:
  // `config` resolved and valid. Builds the model with its initial weights. `arena`: the context's memory, for its
  // statistics. `device`: the context's, whose recording is used where it records; null: it does not. On one that
  // computes nothing, weights get no values. `plan`: PlanPipeline() of the config, from who makes many trainers; null:
  // it is made here where pp > 1.
  Trainer(const RunConfig& config, const Mesh& mesh, const Context& context, const Arena& arena,
          OpenedDevice* device = nullptr, std::shared_ptr<const PipelinePlan> plan = nullptr);

  // One optimizer step over this rank's microbatches of the global batch. Collective. kUnavailable where a collective
  // failed.
  absl::StatusOr<StepMetrics> Step(std::vector<TokenBatch> microbatches);
  // kAborted, naming the batch, where too many steps in a row were bad: the run stops itself. The same on all ranks.
  absl::Status Verdict() const;

  struct Validation {
    double loss = 0;  // nats per scored token
    int64_t tokens = 0;
  };
  // Mean loss over the batches that all ranks pass. Collective.
  absl::StatusOr<Validation> Validate(const std::vector<TokenBatch>& batches);

  LanguageModel& model() { return *model_; }
  Optimizer& optimizer() { return optimizer_; }
  RunState state() const;
  void Restore(const RunState& state);

  // Forward and backward matrix work of one step over all ranks, FLOPs.
  double step_flops() const { return step_flops_; }
  const GradientReducer& reducer() const { return reducer_; }

 private:
  absl::StatusOr<LossCounts> GlobalCounts(const std::vector<TokenBatch>& microbatches, int64_t* real_tokens) const;
  // Forward and backward of all of them: gradients and loss sums.
  absl::Status Accumulate(const std::vector<TokenBatch>& microbatches, const LossScales& scales, GradientHooks hooks);
  absl::Status FinishPosts();  // of what a model sends between spans
  // The losses of validation batches, without gradients, are added to `sums`.
  absl::Status Evaluate(absl::Span<const TokenBatch> batches, const Tensor& sums);
  std::vector<ModelInput> Inputs(absl::Span<const TokenBatch> batches, const LossScales& scales) const;
  void AccumulateRecorded(const TokenBatch& microbatch, const LossScales& scales);
  bool Records() const;
  // Norm, clipping, update, and what the other ranks have updated. Collective.
  absl::Status Update();
  double PeakMemory() const;

  RunConfig config_;
  const Mesh& mesh_;
  const Context& context_;
  const Arena& arena_;
  const std::shared_ptr<const PipelinePlan> plan_;  // null: no pipeline
  std::unique_ptr<LanguageModel> model_;
  Optimizer optimizer_;
  TrainingStage stage_;
  std::unique_ptr<TrainingPipeline> pipeline_;
  GradientReducer reducer_;
  GradientNorm norm_;
  RunState state_;  // before health_, which begins from it
  HealthMonitor health_;
  double step_flops_;
  // What a step tells the device and hears from it, in one piece: ops::AdamWControl, then the loss sums.
  Tensor exchange_, control_, loss_sums_;

  // A microbatch of one form as recorded work, with the place where its data go.
  struct RecordedMicrobatch {
    ModelInput input;
    Replay replay;
  };
  OpenedDevice* const device_;
  std::map<ModelInput::Form, std::unique_ptr<RecordedMicrobatch>> recorded_;
  std::unique_ptr<Replay> recorded_update_;
};

}  // namespace photon
