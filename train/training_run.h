// A training run on one rank, from the opened data to the last checkpoint.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/device.h"
#include "data/loader.h"
#include "data/open.h"
#include "parallel/mesh.h"
#include "train/data_progress.h"
#include "train/early_stop.h"
#include "train/metrics.h"
#include "train/run_checkpoints.h"
#include "train/run_lock.h"
#include "train/run_saver.h"
#include "train/signals.h"
#include "train/step_profile.h"
#include "train/train.h"
#include "train/trainer.h"
#include "train/validation.h"

namespace photon {

class TrainingRun {
 public:
  // `saved`: the config that is left for later runs. `plan`: where pp > 1. `mesh` and `device` outlive the run.
  TrainingRun(const RunConfig& config, const RunConfig& saved, const Mesh& mesh, OpenedData data, OpenedDevice& device,
              std::shared_ptr<const PipelinePlan> plan)
      : config_(config),
        saved_config_(saved),
        mesh_(mesh),
        data_(std::move(data)),
        profile_(config_.training().profile_steps(), device.marker()),
        device_(device.Description()),
        arena_(device.allocator().main()),
        context_(device.MakeContext(profile_.profiler())),
        trainer_(config_, mesh_, context_, arena_, &device, std::move(plan)),
        checkpoints_(context_, mesh_, saved_config_, trainer_.model().parameters(), trainer_.optimizer(),
                     data_.tokenizer == nullptr ? "" : data_.tokenizer->bytes()),
        dp_(mesh_.axis(MeshAxis::kDp)),
        early_stop_(config_.training().early_stop()),
        saver_(
            checkpoints_, config_.checkpoint(), leads(), [this] { return State(); },
            [this](const RunState& state) { early_stop_.Saved(state); }) {}

  absl::Status Run(const TrainOptions& options);

 private:
  bool leads() const { return mesh_.world().rank() == 0; }
  int64_t step() const { return trainer_.state().step(); }
  // There once the run is at its end, and gone again when it goes on: for scripts that start it.
  std::string FinishedFile() const { return config_.run_dir() + "/finished"; }
  absl::Status Start(const TrainOptions& options);
  absl::Status LockRun();
  absl::Status ChooseBeginning(const TrainOptions& options);
  absl::Status PrepareData();
  absl::Status CheckResumed(const RunState& state);
  RunState State() const;  // to be saved
  absl::Status MeasurePeak();
  absl::Status Loop();
  absl::StatusOr<StepMetrics> OneStep(Loader& loader);
  void Report(const StepMetrics& metrics);
  void EndProfiledStep();
  // Whether this validation is the best so far, where early stop is on.
  absl::StatusOr<bool> ValidateNow();
  absl::Status SaveAfter(const absl::Status& data_error);
  void ReportEnd(int stop_signal);
  // What any rank was asked by a signal, and whether any still writes a checkpoint: agreed on by all.
  struct Asked {
    int stop = 0;  // the signal
    bool save = false, writing = false;
  };
  absl::StatusOr<Asked> AskAll();

  RunConfig config_;
  RunConfig saved_config_;
  const Mesh& mesh_;
  OpenedData data_;
  StepProfile profile_;
  const std::string device_;  // in words
  const Arena& arena_;
  Context context_;
  Trainer trainer_;
  RunCheckpoints checkpoints_;
  Communicator& dp_;
  SignalWatch signals_;
  std::optional<RunLock> lock_;  // rank 0's
  std::optional<MetricsLog> log_;
  std::optional<DataProgress> progress_;
  std::vector<DataFile> trained_on_;
  ValidationSet validation_;
  EarlyStop early_stop_;
  double peak_flops_ = 0;  // matrix peak of all ranks together
  double loop_started_ = 0;
  int64_t first_step_ = 0;
  RunSaver saver_;  // last: what it saves stands above
};

}  // namespace photon
