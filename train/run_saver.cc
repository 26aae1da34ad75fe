#include "train/run_saver.h"

#include <spdlog/spdlog.h>

#include <optional>

namespace photon {

absl::Status RunSaver::Save(bool last) {
  const int64_t step = state_().step();
  if (under_way()) {
    if (saving_.step() == step && !last) return absl::OkStatus();
    if (config_.when_busy() == CheckpointConfig::SKIP && !last) {
      if (leads_) {
        spdlog::warn("checkpoint of step {} skipped: that of step {} is still being written", step, saving_.step());
      }
      return absl::OkStatus();
    }
    PHOTON_RETURN_IF_ERROR(Finish());
  }
  if (last_saved_ == step) return absl::OkStatus();
  saving_ = state_();
  bool behind = false;
  if (!last) {
    PHOTON_ASSIGN_OR_RETURN(behind, checkpoints_.PrepareAsync());
  }
  if (!behind) return Judge(checkpoints_.Save(saving_));
  const absl::Status begun = checkpoints_.BeginSave(saving_);
  return begun.ok() ? begun : Judge(begun);
}

absl::Status RunSaver::Advance(bool writing) {
  if (!under_way() || writing) return absl::OkStatus();
  const std::optional<absl::Status> ended = checkpoints_.AdvanceSave();
  return ended.has_value() ? Judge(*ended) : absl::OkStatus();
}

// What came of the save of saving_.
absl::Status RunSaver::Judge(const absl::Status& saved) {
  if (saved.ok()) {
    last_saved_ = saving_.step();
    saved_(saving_);
    return absl::OkStatus();
  }
  // A bug, or ranks that can't reach each other. All else is of the disk, and may pass.
  if (absl::IsInternal(saved) || absl::IsUnavailable(saved)) return saved;
  if (leads_) {
    spdlog::error("checkpoint of step {} NOT saved: {}. Training goes on; the checkpoint before stays good",
                  saving_.step(), std::string(saved.message()));
  }
  return absl::OkStatus();
}

}  // namespace photon
