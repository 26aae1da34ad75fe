// WriteCheckpoint: every rank its own files, rank 0 the rest, nobody OK before all is on disk.
#include <sys/stat.h>

#include <filesystem>
#include <map>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "checkpoint/datasets.h"
#include "checkpoint/gather.h"
#include "checkpoint/manifest.h"
#include "checkpoint/store.h"
#include "core/checksum.h"
#include "core/file.h"
#include "core/folder.h"

namespace photon {
namespace {

namespace fs = std::filesystem;

// A rank's files, by name, and what it tells the others about them.
struct Share {
  std::map<std::string, std::vector<NamedPart>> files;
  Manifest description;  // tensors with this rank's shards
};

absl::Status CheckPart(const TensorPart& part) {
  const auto wrong = [&](absl::string_view what) {
    return absl::InternalError(absl::StrCat("checkpoint part of tensor \"", part.name, "\": ", what));
  };
  // One link of an HDF5 group names a tensor; '%' is a pattern in the names that virtual datasets refer to.
  if (part.name.empty() || part.name == "." || part.name.find_first_of("/%") != std::string::npos) {
    return wrong("a name may not hold '/' or '%'");
  }
  if (part.section.empty() || part.section.find_first_not_of("abcdefghijklmnopqrstuvwxyz") != std::string::npos) {
    return wrong(absl::StrCat("section \"", part.section, "\" is not a lower-case word"));
  }
  const int rank = part.global_shape.rank();
  if (rank == 0 || part.region.shape.rank() != rank || static_cast<int>(part.region.offset.size()) != rank) {
    return wrong("its region does not have the tensor's dimensions (one at least)");
  }
  if (!part.value.defined() || !(part.value.shape() == part.region.shape) || !part.value.contiguous() ||
      part.value.device().type != DeviceType::kCpu || !StorableDType(part.value.dtype())) {
    return wrong(absl::StrCat("wants a contiguous host tensor of ", ToString(part.region),
                              " in f32, f64, i64, i32 or u8", "; got ", part.value.ToString()));
  }
  return absl::OkStatus();
}

absl::StatusOr<Share> DescribeShare(Communicator& comm, const std::vector<TensorPart>& parts) {
  Share share;
  std::map<std::string, int> seen;
  for (const TensorPart& part : parts) {
    PHOTON_RETURN_IF_ERROR(CheckPart(part));
    if (part.region.shape.elements() == 0) continue;
    const std::string file = absl::StrFormat("%s-%05d-of-%05d.h5", part.section, comm.rank(), comm.size());
    const int before = seen[part.name]++;
    const std::string dataset = before == 0 ? part.name : absl::StrCat(part.name, "#", before);
    share.files[file].push_back({dataset, &part});
    ManifestTensor* tensor = share.description.add_tensors();
    tensor->set_name(part.name);
    tensor->set_dtype(std::string(Name(part.value.dtype())));
    tensor->set_section(part.section);
    tensor->mutable_shape()->Add(part.global_shape.dims().begin(), part.global_shape.dims().end());
    ManifestShard* shard = tensor->add_shards();
    shard->set_file(file);
    shard->set_dataset(dataset);
    shard->mutable_offset()->Add(part.region.offset.begin(), part.region.offset.end());
    shard->mutable_shape()->Add(part.region.shape.dims().begin(), part.region.shape.dims().end());
  }
  return share;
}

// All ranks' shards, tensor by tensor in the order of names; kInternal where they contradict or do not cover.
absl::StatusOr<Manifest> MergeTensors(const std::vector<std::string>& descriptions) {
  std::map<std::string, ManifestTensor> tensors;
  for (const std::string& bytes : descriptions) {
    Manifest one;
    if (!one.ParseFromString(bytes)) return absl::InternalError("a rank's list of tensors arrived garbled");
    for (const ManifestTensor& tensor : one.tensors()) {
      const auto [at, is_new] = tensors.try_emplace(tensor.name(), tensor);
      if (is_new) continue;
      ManifestTensor& merged = at->second;
      if (merged.dtype() != tensor.dtype() || merged.section() != tensor.section() ||
          !(GlobalShape(merged) == GlobalShape(tensor))) {
        return absl::InternalError(absl::StrCat("ranks disagree about tensor ", tensor.name(), ": ", merged.dtype(),
                                                GlobalShape(merged).ToString(), " and ", tensor.dtype(),
                                                GlobalShape(tensor).ToString()));
      }
      merged.mutable_shards()->MergeFrom(tensor.shards());
    }
  }
  Manifest manifest;
  for (auto& [name, tensor] : tensors) {
    PHOTON_RETURN_IF_ERROR(CheckCoverage(tensor));
    *manifest.add_tensors() = std::move(tensor);
  }
  return manifest;
}

absl::Status MakeTemporary(const std::string& dir, const std::string& temporary) {
  std::error_code error;
  if (fs::exists(dir, error) && !fs::exists(absl::StrCat(dir, "/", kManifestName), error) && !InRunFolder(dir)) {
    return absl::FailedPreconditionError(
        absl::StrCat(dir, " exists and is no checkpoint: remove it or save elsewhere"));
  }
  PHOTON_RETURN_IF_ERROR(RemoveTree(temporary));
  fs::create_directories(ParentFolder(dir), error);
  if (error) return FileError(error.value(), "cannot create", ParentFolder(dir));
  if (mkdir(temporary.c_str(), 0777) != 0) return FileError(errno, "cannot create", temporary);
  return absl::OkStatus();
}

absl::StatusOr<std::string> WriteShare(const Share& share, const std::string& temporary) {
  Manifest written;
  for (const auto& [file, parts] : share.files) {
    PHOTON_ASSIGN_OR_RETURN(ManifestFile entry, WritePartsFile(temporary, file, parts));
    entry.set_section(parts.front().part->section);
    *written.add_files() = std::move(entry);
  }
  return written.SerializeAsString();
}

absl::Status WriteTokenizer(const std::string& temporary, const CheckpointContents& contents, Manifest& manifest) {
  if (contents.tokenizer_name.empty()) return absl::OkStatus();
  if (contents.tokenizer_name[0] == '.' || contents.tokenizer_name.find('/') != std::string::npos) {
    return absl::InternalError(absl::StrCat("not a plain file name for a tokenizer: ", contents.tokenizer_name));
  }
  PHOTON_RETURN_IF_ERROR(WriteFile(absl::StrCat(temporary, "/", contents.tokenizer_name), contents.tokenizer_bytes));
  ManifestFile* file = manifest.add_files();
  file->set_name(contents.tokenizer_name);
  file->set_bytes(contents.tokenizer_bytes.size());
  file->set_xxh3(Checksum(contents.tokenizer_bytes));
  manifest.set_tokenizer(contents.tokenizer_name);
  return absl::OkStatus();
}

// Rank 0, after all ranks' files are on disk: tokenizer, index, and last the manifest; then the name.
absl::Status Finish(const std::string& temporary, const std::string& dir, const CheckpointContents& contents,
                    const std::vector<std::string>& written, Manifest manifest) {
  for (const std::string& bytes : written) {
    Manifest one;
    if (!one.ParseFromString(bytes)) return absl::InternalError("a rank's list of files arrived garbled");
    manifest.mutable_files()->MergeFrom(one.files());
  }
  manifest.set_format_version(kCheckpointFormat);
  manifest.set_photon_version(PHOTON_VERSION);
  *manifest.mutable_config() = contents.config;
  *manifest.mutable_state() = contents.state;
  PHOTON_RETURN_IF_ERROR(WriteTokenizer(temporary, contents, manifest));
  PHOTON_ASSIGN_OR_RETURN(*manifest.add_files(), WriteIndexFile(temporary, manifest));
  PHOTON_RETURN_IF_ERROR(WriteFile(absl::StrCat(temporary, "/", kManifestName), ManifestToText(manifest)));
  return CommitFolder(temporary, dir);
}

absl::Status WriteUnder(Communicator& comm, const std::string& temporary, const std::string& dir,
                        const CheckpointContents& contents, const Share& share, Manifest manifest) {
  const bool first = comm.rank() == 0;
  PHOTON_RETURN_IF_ERROR(AgreeOn(comm, "checkpoint folder", first ? MakeTemporary(dir, temporary) : absl::OkStatus()));
  const absl::StatusOr<std::string> written = WriteShare(share, temporary);
  PHOTON_RETURN_IF_ERROR(AgreeOn(comm, "checkpoint files", written.status()));
  PHOTON_ASSIGN_OR_RETURN(const std::vector<std::string> all, GatherStrings(comm, "checkpoint files", *written));
  return AgreeOn(comm, "checkpoint manifest",
                 first ? Finish(temporary, dir, contents, all, std::move(manifest)) : absl::OkStatus());
}

}  // namespace

absl::Status WriteCheckpoint(Communicator& comm, const std::string& dir_argument, const CheckpointContents& contents) {
  std::string dir = dir_argument;
  while (dir.size() > 1 && dir.back() == '/') dir.pop_back();
  const absl::StatusOr<Share> share = DescribeShare(comm, contents.parts);
  PHOTON_RETURN_IF_ERROR(AgreeOn(comm, "checkpoint parts", share.status()));
  PHOTON_ASSIGN_OR_RETURN(const std::vector<std::string> descriptions,
                          GatherStrings(comm, "checkpoint tensors", share->description.SerializeAsString()));
  // Every rank merges the same lists, so all come to the same verdict, before anything touches the disk.
  PHOTON_ASSIGN_OR_RETURN(Manifest manifest, MergeTensors(descriptions));

  const std::string temporary = absl::StrCat(dir, ".tmp");
  const absl::Status status = WriteUnder(comm, temporary, dir, contents, *share, std::move(manifest));
  if (!status.ok() && comm.rank() == 0) (void)RemoveTree(temporary);  // what can't go is ignored by its name
  return status;
}

}  // namespace photon
