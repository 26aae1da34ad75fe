#include "train/run_inputs.h"

#include <spdlog/spdlog.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "checkpoint/store.h"
#include "configs/model_config.h"

namespace photon {
namespace {

// None where nothing can be read there: who takes the weights says why.
absl::StatusOr<ModelTokenizer> TokenizerToGoOnWith(const std::string& run_dir, bool resume,
                                                   const std::string& init_from, Communicator& world) {
  std::string path, bytes;
  std::vector<std::string> dirs;  // the first that is good: as weights are read
  if (world.rank() == 0) {
    if (resume) dirs = ListCheckpoints(run_dir);
    if (dirs.empty() && !init_from.empty()) {
      if (const absl::StatusOr<std::string> dir = ResolveCheckpoint(init_from); dir.ok()) dirs = {*dir};
    }
  }
  for (const std::string& dir : dirs) {
    const absl::StatusOr<CheckpointReader> reader = CheckpointReader::Open(dir);
    if (!reader.ok()) continue;
    if (!reader->manifest().has_tokenizer()) break;
    const absl::StatusOr<std::string> read = reader->ReadTokenizer();
    if (!read.ok()) continue;
    path = absl::StrCat(dir, "/", reader->manifest().tokenizer());
    bytes = *read;
    break;
  }
  PHOTON_ASSIGN_OR_RETURN(path, BroadcastString(world, "tokenizer", path, 0));
  PHOTON_ASSIGN_OR_RETURN(bytes, BroadcastString(world, "tokenizer", bytes, 0));
  if (path.empty()) return ModelTokenizer();
  PHOTON_ASSIGN_OR_RETURN(std::shared_ptr<const Tokenizer> tokenizer, Tokenizer::FromBytes(std::move(bytes), path));
  return ModelTokenizer{std::move(tokenizer), std::move(path)};
}

}  // namespace

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

absl::StatusOr<OpenedData> OpenRunData(Communicator& world, const RunConfig& config, bool resume,
                                       const std::string& init_from) {
  PHOTON_ASSIGN_OR_RETURN(const ModelTokenizer model, TokenizerToGoOnWith(config.run_dir(), resume, init_from, world));
  absl::StatusOr<OpenedData> data =
      OpenData(config.data(), config.model().vocab_size(), ChunkProduct(config.model()), model);
  absl::Status opened = data.status();
  if (absl::IsNotFound(opened)) {
    opened = absl::NotFoundError(absl::StrCat(
        opened.message(),
        "; data.train and data.valid name the token files, relative paths from the folder that photon runs "
        "in: where they were moved, --set data.train=PREFIX"));
  }
  PHOTON_RETURN_IF_ERROR(AgreeOn(world, "open data", opened));
  if (world.rank() == 0) {
    for (const std::string& note : data->notes) spdlog::warn("{}", note);
  }
  return data;
}

}  // namespace photon
