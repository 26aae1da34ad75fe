// Saving: every rank its own files, rank 0 the rest, nobody OK before all is on disk.

#include <filesystem>
#include <map>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "checkpoint/datasets.h"
#include "checkpoint/gather.h"
#include "checkpoint/manifest.h"
#include "checkpoint/save.h"
#include "checkpoint/store.h"
#include "checkpoint/unsynced_file.h"
#include "core/checksum.h"
#include "core/file.h"
#include "core/folder.h"

namespace photon {
namespace {

namespace fs = std::filesystem;

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

absl::StatusOr<ShareOfTensors> DescribeShare(Communicator& comm, const std::vector<TensorPart>& parts) {
  ShareOfTensors share;
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

absl::Status MakeTemporary(FileSystem& files, const std::string& dir, const std::string& temporary) {
  std::error_code error;
  if (fs::exists(dir, error) && !fs::exists(absl::StrCat(dir, "/", kManifestName), error) && !InRunFolder(dir)) {
    return absl::FailedPreconditionError(
        absl::StrCat(dir, " exists and is no checkpoint: remove it or save elsewhere"));
  }
  PHOTON_RETURN_IF_ERROR(RemoveTree(temporary, files));
  PHOTON_RETURN_IF_ERROR(MakeFolders(ParentFolder(dir), files));
  if (files.MakeFolder(temporary.c_str()) != 0) return FileError(errno, "cannot create", temporary);
  return absl::OkStatus();
}

// All files are on their way to the disk before the first is waited for.
absl::StatusOr<Manifest> WriteFiles(FileSystem& files, const ShareOfTensors& share, const std::string& temporary) {
  std::vector<UnsyncedFile> unsynced;
  for (const auto& [name, parts] : share.files) {
    PHOTON_ASSIGN_OR_RETURN(const Hdf5Image image, PartsImage(name, parts));
    PHOTON_ASSIGN_OR_RETURN(UnsyncedFile file, UnsyncedFile::Write(temporary, name, image, files));
    unsynced.push_back(std::move(file));
  }
  Manifest written;
  auto file = unsynced.begin();
  for (const auto& [name, parts] : share.files) {
    PHOTON_ASSIGN_OR_RETURN(*written.add_files(), (file++)->Sync());
    written.mutable_files()->rbegin()->set_section(parts.front().part->section);
  }
  return written;
}

absl::Status WriteTokenizer(FileSystem& files, const std::string& temporary, const CheckpointContents& contents,
                            Manifest& manifest) {
  if (contents.tokenizer_name.empty()) return absl::OkStatus();
  if (contents.tokenizer_name[0] == '.' || contents.tokenizer_name.find('/') != std::string::npos) {
    return absl::InternalError(absl::StrCat("not a plain file name for a tokenizer: ", contents.tokenizer_name));
  }
  PHOTON_RETURN_IF_ERROR(
      WriteFile(absl::StrCat(temporary, "/", contents.tokenizer_name), contents.tokenizer_bytes, files));
  ManifestFile* file = manifest.add_files();
  file->set_name(contents.tokenizer_name);
  file->set_bytes(contents.tokenizer_bytes.size());
  file->set_xxh3(Checksum(contents.tokenizer_bytes));
  manifest.set_tokenizer(contents.tokenizer_name);
  return absl::OkStatus();
}

// Rank 0, after all ranks' files are on disk: tokenizer, index, and last the manifest; then the name.
absl::Status Finish(FileSystem& files, const std::string& temporary, const std::string& dir,
                    const CheckpointContents& contents, Manifest& manifest) {
  manifest.set_format_version(kCheckpointFormat);
  manifest.set_photon_version(PHOTON_VERSION);
  *manifest.mutable_config() = contents.config;
  *manifest.mutable_state() = contents.state;
  if (contents.init_from.has_value()) *manifest.mutable_init_from() = *contents.init_from;
  PHOTON_RETURN_IF_ERROR(WriteTokenizer(files, temporary, contents, manifest));
  PHOTON_ASSIGN_OR_RETURN(const Hdf5Image image, IndexImage(manifest));
  PHOTON_ASSIGN_OR_RETURN(UnsyncedFile index, UnsyncedFile::Write(temporary, kIndexName, image, files));
  PHOTON_ASSIGN_OR_RETURN(*manifest.add_files(), index.Sync());
  PHOTON_RETURN_IF_ERROR(WriteFile(absl::StrCat(temporary, "/", kManifestName), ManifestToText(manifest), files));
  return CommitFolder(temporary, dir, files);
}

}  // namespace

absl::StatusOr<std::unique_ptr<CheckpointSave>> CheckpointSave::Begin(Communicator& comm,
                                                                      const std::string& dir_argument,
                                                                      CheckpointContents contents, FileSystem& files) {
  std::string dir = dir_argument;
  while (dir.size() > 1 && dir.back() == '/') dir.pop_back();
  std::unique_ptr<CheckpointSave> save(new CheckpointSave(comm, dir, std::move(contents), files));
  absl::StatusOr<ShareOfTensors> share = DescribeShare(comm, save->contents_.parts);
  PHOTON_RETURN_IF_ERROR(AgreeOn(comm, "checkpoint parts", share.status()));
  PHOTON_ASSIGN_OR_RETURN(const std::vector<std::string> descriptions,
                          GatherStrings(comm, "checkpoint tensors", share->description.SerializeAsString()));
  save->share_ = *std::move(share);
  // Every rank merges the same lists, so all come to the same verdict, before anything touches the disk.
  PHOTON_ASSIGN_OR_RETURN(save->manifest_, MergeTensors(descriptions));
  absl::Status made;
  if (save->first()) made = MakeTemporary(files, dir, save->temporary_);
  if (absl::Status agreed = AgreeOn(comm, "checkpoint folder", made); !agreed.ok()) return save->GiveUp(agreed);
  return save;
}

void CheckpointSave::WriteShare() {
  absl::StatusOr<Manifest> written = WriteFiles(files_, share_, temporary_);
  status_ = written.status();
  if (written.ok()) written_ = *std::move(written);
}

absl::Status CheckpointSave::Collect() {
  if (absl::Status agreed = AgreeOn(comm_, "checkpoint files", status_); !agreed.ok()) return GiveUp(agreed);
  PHOTON_ASSIGN_OR_RETURN(const std::vector<std::string> all,
                          GatherStrings(comm_, "checkpoint files", written_.SerializeAsString()));
  for (const std::string& bytes : all) {
    Manifest one;
    if (!one.ParseFromString(bytes)) return absl::InternalError("a rank's list of files arrived garbled");
    manifest_.mutable_files()->MergeFrom(one.files());
  }
  return absl::OkStatus();
}

void CheckpointSave::Commit() {
  if (first()) status_ = Finish(files_, temporary_, dir_, contents_, manifest_);
}

absl::Status CheckpointSave::End() {
  const absl::Status agreed = AgreeOn(comm_, "checkpoint manifest", status_);
  return agreed.ok() ? agreed : GiveUp(agreed);
}

absl::Status CheckpointSave::GiveUp(const absl::Status& status) {
  if (first()) (void)RemoveTree(temporary_, files_);  // what can't go is ignored by its name
  return status;
}

absl::Status WriteCheckpoint(Communicator& comm, const std::string& dir, const CheckpointContents& contents,
                             FileSystem& files) {
  PHOTON_ASSIGN_OR_RETURN(const std::unique_ptr<CheckpointSave> save,
                          CheckpointSave::Begin(comm, dir, contents, files));
  save->WriteShare();
  PHOTON_RETURN_IF_ERROR(save->Collect());
  save->Commit();
  return save->End();
}

}  // namespace photon
