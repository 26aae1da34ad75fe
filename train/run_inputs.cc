#include "train/run_inputs.h"

#include "absl/strings/str_cat.h"
#include "checkpoint/store.h"
#include "configs/model_config.h"

namespace photon {

absl::StatusOr<RunConfig> WithModelOf(const std::string& init_from, Communicator& world, RunConfig config) {
  if (config.has_model() || init_from.empty()) return config;
  absl::StatusOr<std::string> model = std::string();
  if (world.rank() == 0) {
    const absl::StatusOr<std::string> dir = ResolveCheckpoint(init_from);
    const absl::StatusOr<CheckpointReader> reader =
        dir.ok() ? CheckpointReader::Open(*dir) : absl::StatusOr<CheckpointReader>(dir.status());
    if (!reader.ok()) model = reader.status();
    if (reader.ok()) model = reader->manifest().config().model().SerializeAsString();
  }
  PHOTON_RETURN_IF_ERROR(AgreeOn(world, "initial weights", model.status()));
  PHOTON_ASSIGN_OR_RETURN(const std::string bytes, BroadcastString(world, "model", *model, 0));
  if (!config.mutable_model()->ParseFromString(bytes)) return absl::InternalError("the model arrived garbled");
  return config;
}

RunConfig ForAnyLayout(const RunConfig& requested, RunConfig resolved) {
  if (!requested.parallel().has_dp()) resolved.mutable_parallel()->clear_dp();
  if (!requested.training().has_micro_batch_sequences()) resolved.mutable_training()->clear_micro_batch_sequences();
  return resolved;
}

absl::StatusOr<OpenedData> OpenRunData(Communicator& world, const RunConfig& config) {
  absl::StatusOr<OpenedData> data = OpenData(config.data(), config.model().vocab_size(), ChunkProduct(config.model()));
  absl::Status opened = data.status();
  if (absl::IsNotFound(opened)) {
    opened = absl::NotFoundError(absl::StrCat(
        opened.message(),
        "; data.train and data.valid name the token files, relative paths from the folder that photon runs "
        "in: where they were moved, --set data.train=PREFIX"));
  }
  PHOTON_RETURN_IF_ERROR(AgreeOn(world, "open data", opened));
  return data;
}

}  // namespace photon
