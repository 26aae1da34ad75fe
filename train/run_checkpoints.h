// Saving and restoring a run: what goes into a checkpoint, which rank owns it, and which checkpoint to resume from.
#pragma once

#include <optional>
#include <string>

#include "checkpoint/store.h"
#include "core/parameter.h"
#include "parallel/mesh.h"
#include "train/optimizer.h"

namespace photon {

class RunCheckpoints {
 public:
  // `tokenizer_bytes` may be empty: a run on token ids alone.
  RunCheckpoints(const Context& context, const Mesh& mesh, const RunConfig& config, ParameterSet& parameters,
                 Optimizer& optimizer, std::string tokenizer_bytes);

  // Writes and publishes the checkpoint of state.step(). OK means durable. Any failure leaves the earlier ones good.
  absl::Status Save(const RunState& state);
  // Restores parameters and moments from the newest checkpoint that verifies, and returns the rest of the state; one
  // that does not, or has no manifest, is reported and passed over. nullopt where the run has none at all; kDataLoss where it has some and none is good; kFailedPrecondition
  // where they are another model's.
  absl::StatusOr<std::optional<RunState>> Restore();

 private:
  std::vector<TensorPart> PartsToWrite() const;
  absl::StatusOr<RunState> RestoreFrom(const std::string& dir);

  const Context& context_;
  const Mesh& mesh_;
  RunConfig config_;
  ParameterSet& parameters_;
  Optimizer& optimizer_;
  std::string tokenizer_bytes_;
};

}  // namespace photon
