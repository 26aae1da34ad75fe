// photon checkpoint inspect | verify
#include <iostream>
#include <memory>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "checkpoint/store.h"
#include "configs/config.h"
#include "launch/commands.h"

namespace photon {
namespace {

constexpr char kModelSection[] = "model";

absl::StatusOr<CheckpointReader> OpenCheckpoint(const std::string& path) {
  PHOTON_ASSIGN_OR_RETURN(const std::string dir, ResolveCheckpoint(path));
  return CheckpointReader::Open(dir);
}

int64_t Elements(const ManifestTensor& tensor) {
  int64_t elements = 1;
  for (const int64_t size : tensor.shape()) elements *= size;
  return elements;
}

int64_t TotalBytes(const Manifest& manifest) {
  int64_t bytes = 0;
  for (const ManifestFile& file : manifest.files()) bytes += file.bytes();
  return bytes;
}

std::string Summary(const CheckpointReader& reader) {
  const Manifest& manifest = reader.manifest();
  int64_t parameters = 0;
  for (const ManifestTensor& tensor : manifest.tensors()) {
    if (tensor.section() == kModelSection) parameters += Elements(tensor);
  }
  return absl::StrFormat(
      "folder      %s\nformat      %d, written by photon %s\nstep        %d (%d updates, %d tokens seen)\n"
      "parameters  %d\ntokenizer   %s\nfiles       %d, %d bytes\n",
      reader.dir(), manifest.format_version(), manifest.photon_version(), manifest.state().step(), manifest.state().updates(),
      manifest.state().tokens_seen(), parameters, manifest.has_tokenizer() ? manifest.tokenizer() : "none (token ids only)",
      manifest.files_size(), TotalBytes(manifest));
}

void PrintTensors(const Manifest& manifest) {
  size_t longest = 0;
  for (const ManifestTensor& tensor : manifest.tensors()) longest = std::max(longest, tensor.name().size());
  for (const ManifestTensor& tensor : manifest.tensors()) {
    std::cout << absl::StrFormat("%-9s  %-*s  %-4s  [%s]  %d %s\n", tensor.section(), static_cast<int>(longest), tensor.name(),
                                 tensor.dtype(), absl::StrJoin(tensor.shape(), ", "), tensor.shards_size(),
                                 tensor.shards_size() == 1 ? "shard" : "shards");
  }
}

struct InspectOptions {
  std::string checkpoint;
  bool tensors = false;
  bool config = false;
};

absl::Status Inspect(const InspectOptions& options) {
  PHOTON_ASSIGN_OR_RETURN(const CheckpointReader reader, OpenCheckpoint(options.checkpoint));
  std::cout << Summary(reader);
  if (options.tensors) PrintTensors(reader.manifest());
  if (options.config) std::cout << ToText(reader.manifest().config());
  return absl::OkStatus();
}

absl::Status Verify(const std::string& path) {
  PHOTON_ASSIGN_OR_RETURN(const CheckpointReader reader, OpenCheckpoint(path));
  const std::unique_ptr<Communicator> self = SelfCommunicator();
  PHOTON_RETURN_IF_ERROR(reader.Verify(*self, ""));
  std::cout << reader.dir() << ": whole; " << reader.manifest().files_size() << " files, " << TotalBytes(reader.manifest())
            << " bytes, every checksum matches\n";
  return absl::OkStatus();
}

void AddCheckpointOption(CLI::App& command, std::string* checkpoint) {
  command.add_option("--checkpoint", *checkpoint, "A run folder (its newest checkpoint) or a checkpoint folder")->required();
}

}  // namespace

void AddCheckpointCommands(CLI::App& app, Run* chosen) {
  CLI::App& group = *app.add_subcommand("checkpoint", "Look into, check and convert checkpoints");
  group.require_subcommand(1);

  const auto inspect = std::make_shared<InspectOptions>();
  CLI::App* command = AddCommand(group, "inspect", "Print what a checkpoint holds", chosen, [inspect] { return Inspect(*inspect); });
  AddCheckpointOption(*command, &inspect->checkpoint);
  command->add_flag("--tensors", inspect->tensors, "Also every tensor: section, name, dtype, shape, shards");
  command->add_flag("--config", inspect->config, "Also the run's config");

  const auto verify = std::make_shared<std::string>();
  command = AddCommand(group, "verify", "Read every file and compare its checksum", chosen, [verify] { return Verify(*verify); });
  AddCheckpointOption(*command, verify.get());
}

}  // namespace photon
