// Saving and restoring a run: what goes into a checkpoint, which rank owns it, and which checkpoint to resume from.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "checkpoint/store.h"
#include "core/parameter.h"
#include "parallel/mesh.h"
#include "train/background_save.h"
#include "train/optimizer.h"
#include "train/snapshot.h"

namespace photon {

class RunCheckpoints {
 public:
  // `tokenizer_bytes` may be empty: a run on token ids alone. `files`: what saves are written through.
  RunCheckpoints(const Context& context, const Mesh& mesh, const RunConfig& config, ParameterSet& parameters,
                 Optimizer& optimizer, std::string tokenizer_bytes, FileSystem& files = RealFileSystem());

  // Writes and publishes the checkpoint of state.step(). OK means durable. Any failure leaves the earlier ones good.
  // No other save may be under way.
  absl::Status Save(const RunState& state);

  // The same behind the training. All ranks call these alike, but for working().
  //
  // Whether saves can run so: where the config asks for it and there is memory for the copy. The first call takes that
  // memory, so a run without saves before its last takes none, and says how much it is; where a machine does not have
  // it, says that, and no save will be asynchronous.
  absl::StatusOr<bool> PrepareAsync();
  // Copies the state; training may go on at once. An error, the same on all ranks: no save has begun. PrepareAsync must
  // have said yes.
  absl::Status BeginSave(const RunState& state);
  bool save_under_way() const { return background_.under_way(); }
  // Whether this rank still writes. Once no rank does, all call AdvanceSave, which returns what came of the save once
  // it has ended: OK is durable.
  bool working() const { return background_.working(); }
  std::optional<absl::Status> AdvanceSave() { return background_.Advance(); }
  // Waits for the end of the save under way.
  absl::Status FinishSave() { return background_.Finish(); }

  // Restores parameters and moments from the newest checkpoint that verifies, and returns the rest of the state; one
  // that does not, or has no manifest, is reported and passed over. nullopt where the run has none at all; kDataLoss
  // where it has some and none is good; kFailedPrecondition where they are another model's.
  absl::StatusOr<std::optional<RunState>> Restore();
  // Takes the weights, and nothing else, from the checkpoint that `path` names (a checkpoint or run folder): of the
  // same model (kFailedPrecondition names the fields that differ) and, where both carry one, the same tokenizer.
  absl::Status InitFrom(const std::string& path);

 private:
  std::vector<TensorPart> PartsToSave() const;
  // For copies of them, once. Collective.
  absl::Status MakeRoom(const std::vector<TensorPart>& parts);
  // The same in host memory: themselves, or copies of what a device holds. Collective.
  absl::StatusOr<std::vector<TensorPart>> PartsOnHost();
  CheckpointContents Contents(const RunState& state, std::vector<TensorPart> parts) const;
  std::string Dir(const RunState& state) const { return CheckpointDir(config_.run_dir(), state.step()); }
  void Publish(const CheckpointSave& save, double started) const;
  // `otherwise`: the remedy, beside another config, where it is another model's.
  absl::StatusOr<CheckpointReader> OpenSameModel(const std::string& dir, const std::string& otherwise) const;
  absl::StatusOr<RunState> RestoreFrom(const std::string& dir);
  absl::Status CheckSameTokenizer(const CheckpointReader& reader) const;

  const Context& context_;
  const Mesh& mesh_;
  RunConfig config_;
  ParameterSet& parameters_;
  Optimizer& optimizer_;
  std::string tokenizer_bytes_;
  FileSystem& files_;
  std::optional<::photon::InitFrom> init_from_;
  bool room_made_ = false;     // in snapshot_
  std::optional<bool> async_;  // unset: not asked yet
  double started_ = 0;         // when the save under way began
  Snapshot snapshot_;
  BackgroundSave background_;  // last: its thread reads what is above
};

}  // namespace photon
