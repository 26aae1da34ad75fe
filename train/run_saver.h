// When a run's state is saved: which saves are begun, skipped or waited for, and what comes of one that failed.
#pragma once

#include <functional>

#include "configs/run.pb.h"
#include "core/status.h"
#include "train/run_checkpoints.h"

namespace photon {

// Collective: all ranks call it alike. `leads`: this one speaks for all.
class RunSaver {
 public:
  // `state`: what is to be saved now; `saved` is told of every state that was.
  RunSaver(RunCheckpoints& checkpoints, const CheckpointConfig& config, bool leads, std::function<RunState()> state,
           std::function<void(const RunState&)> saved)
      : checkpoints_(checkpoints), config_(config), leads_(leads), state_(std::move(state)), saved_(std::move(saved)) {}

  // The run went on from the checkpoint of this step.
  void Resumed(int64_t step) { last_saved_ = step; }
  int64_t last_saved() const { return last_saved_; }
  bool under_way() const { return checkpoints_.save_under_way(); }

  // Begins a save, in the background where the run has that; `last`: nothing is left to do beside it. Disks that fail
  // are reported and cost no run: an error is of ranks that can't reach each other, or a bug.
  absl::Status Save(bool last);
  // After every step; `writing`: some rank still writes.
  absl::Status Advance(bool writing);
  // Waits for the save under way.
  absl::Status Finish() { return Judge(checkpoints_.FinishSave()); }

 private:
  absl::Status Judge(const absl::Status& saved);

  RunCheckpoints& checkpoints_;
  const CheckpointConfig config_;
  const bool leads_;
  const std::function<RunState()> state_;
  const std::function<void(const RunState&)> saved_;
  RunState saving_;  // of the save begun last
  int64_t last_saved_ = -1;
};

}  // namespace photon
