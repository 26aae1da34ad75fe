// CheckpointReader: the manifest, checksums, and any region from whatever shards hold it.
#include <sys/stat.h>

#include <algorithm>
#include <filesystem>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "checkpoint/datasets.h"
#include "checkpoint/manifest.h"
#include "checkpoint/store.h"
#include "core/checksum.h"
#include "core/file.h"

namespace photon {
namespace {

// What to do about a damaged checkpoint: names the next older one of the run where there is one.
std::string Remedy(const std::string& dir) {
  const std::filesystem::path path(std::filesystem::path(dir).lexically_normal());
  const std::filesystem::path folder = path.has_filename() ? path : path.parent_path();
  const std::string name = folder.filename().string();
  for (const std::string& other : ListCheckpoints(folder.parent_path().parent_path().string())) {
    std::error_code error;
    if (std::filesystem::path(other).filename().string() < name &&
        std::filesystem::exists(absl::StrCat(other, "/", kManifestName), error)) {
      return absl::StrCat("; use an older checkpoint of the run: ", other);
    }
  }
  return "; use another checkpoint of the run, or restore the file";
}

// The same status about `path`, with the remedy; damage and absence of a file inside a checkpoint are both data loss.
absl::Status Damaged(const std::string& dir, const std::string& path, const absl::Status& status) {
  const bool named = status.message().find(path) != absl::string_view::npos;
  const std::string message = absl::StrCat(named ? "" : path, named ? "" : ": ", status.message());
  switch (status.code()) {
    case absl::StatusCode::kDataLoss:
    case absl::StatusCode::kNotFound:
    case absl::StatusCode::kInvalidArgument:  // a folder in the file's place
    case absl::StatusCode::kInternal:
      return absl::DataLossError(absl::StrCat(message, Remedy(dir)));
    default:
      return absl::Status(status.code(), message);
  }
}

absl::Status CheckFile(const std::string& path, const ManifestFile& expected, const BytesRead& progress) {
  struct stat info;
  if (stat(path.c_str(), &info) != 0) return FileError(errno, "cannot open", path);
  if (info.st_size != expected.bytes()) {
    return absl::DataLossError(
        absl::StrCat(path, ": ", info.st_size, " bytes instead of ", expected.bytes(), " (checksum not computed)"));
  }
  PHOTON_ASSIGN_OR_RETURN(const FileChecksum found, ChecksumFile(path, progress));
  if (found.xxh3 == expected.xxh3()) return absl::OkStatus();
  return absl::DataLossError(
      absl::StrCat(path, ": checksum ", found.xxh3, " instead of ", expected.xxh3(), ": the file is damaged"));
}

// Dividing by size balances the ranks: largest first, each to the least loaded.
std::vector<const ManifestFile*> ShareOfFiles(const Manifest& manifest, absl::string_view section, int rank,
                                              int ranks) {
  std::vector<const ManifestFile*> files;
  for (const ManifestFile& file : manifest.files()) {
    if (section.empty() || file.section() == section) files.push_back(&file);
  }
  std::stable_sort(files.begin(), files.end(),
                   [](const ManifestFile* a, const ManifestFile* b) { return a->bytes() > b->bytes(); });
  std::vector<int64_t> load(ranks, 0);
  std::vector<const ManifestFile*> mine;
  for (const ManifestFile* file : files) {
    const int to = std::min_element(load.begin(), load.end()) - load.begin();
    load[to] += file->bytes() + 1;
    if (to == rank) mine.push_back(file);
  }
  return mine;
}

absl::Status CheckRequest(const ManifestTensor& tensor, const Region& region, const Tensor& out) {
  const Shape global = GlobalShape(tensor);
  bool inside = region.shape.rank() == global.rank() && static_cast<int>(region.offset.size()) == global.rank();
  for (int d = 0; inside && d < global.rank(); ++d) {
    inside = region.offset[d] >= 0 && region.shape[d] >= 0 && region.shape[d] <= global[d] - region.offset[d];
  }
  if (!inside) {
    return absl::InvalidArgumentError(absl::StrCat("checkpoint tensor ", tensor.name(), " is ", global.ToString(),
                                                   "; asked for ", ToString(region),
                                                   ": the checkpoint is of another model"));
  }
  if (tensor.dtype() != Name(out.dtype()) || !(out.shape() == region.shape) || !out.contiguous() ||
      out.device().type != DeviceType::kCpu) {
    return absl::InvalidArgumentError(absl::StrCat("checkpoint tensor ", tensor.name(), " is ", tensor.dtype(), ", ",
                                                   ToString(region), " asked for; cannot go into ", out.ToString()));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<CheckpointReader> CheckpointReader::Open(const std::string& dir) {
  struct stat info;
  if (stat(dir.c_str(), &info) != 0) return FileError(errno, "cannot open checkpoint", dir);
  const std::string path = absl::StrCat(dir, "/", kManifestName);
  const absl::StatusOr<std::string> text = ReadFile(path);
  if (absl::IsNotFound(text.status())) {
    return absl::NotFoundError(absl::StrCat(dir, " has no ", kManifestName, ": no checkpoint, or one never finished"));
  }
  if (!text.ok()) return Damaged(dir, path, text.status());
  absl::StatusOr<Manifest> manifest = ManifestFromText(*text);
  if (!manifest.ok()) return Damaged(dir, path, manifest.status());
  CheckpointReader reader;
  reader.dir_ = dir;
  reader.manifest_ = *std::move(manifest);
  return reader;
}

const ManifestTensor* CheckpointReader::Find(absl::string_view name) const {
  const auto& tensors = manifest_.tensors();
  const auto at =
      std::lower_bound(tensors.begin(), tensors.end(), name,
                       [](const ManifestTensor& t, absl::string_view n) { return absl::string_view(t.name()) < n; });
  return at != tensors.end() && at->name() == name ? &*at : nullptr;
}

absl::StatusOr<std::string> CheckpointReader::ReadTokenizer() const {
  if (!manifest_.has_tokenizer()) {
    return absl::NotFoundError(
        absl::StrCat(dir_,
                     " carries no tokenizer: use token ids, or give it one: `photon checkpoint export`, then "
                     "`photon checkpoint import --tokenizer FILE`"));
  }
  const std::string path = absl::StrCat(dir_, "/", manifest_.tokenizer());
  const absl::StatusOr<std::string> bytes = ReadFile(path);
  if (!bytes.ok()) return Damaged(dir_, path, bytes.status());
  for (const ManifestFile& file : manifest_.files()) {
    if (file.name() == manifest_.tokenizer() && file.xxh3() == Checksum(*bytes)) return bytes;
  }
  return Damaged(dir_, path, absl::DataLossError("checksum does not fit: the file is damaged"));
}

absl::Status CheckpointReader::Verify(Communicator& comm, absl::string_view section) const {
  absl::Status status;
  for (const ManifestFile* file : ShareOfFiles(manifest_, section, comm.rank(), comm.size())) {
    status = VerifyFile(*file);
    if (!status.ok()) break;
  }
  return AgreeOn(comm, "checkpoint checksums", status);
}

absl::Status CheckpointReader::VerifyFile(const ManifestFile& file, const BytesRead& progress) const {
  const std::string path = absl::StrCat(dir_, "/", file.name());
  const absl::Status checked = CheckFile(path, file, progress);
  return checked.ok() ? checked : Damaged(dir_, path, checked);
}

absl::Status CheckpointReader::Read(absl::string_view name, const Region& region, const Tensor& out) const {
  const ManifestTensor* tensor = Find(name);
  if (tensor == nullptr) {
    return absl::NotFoundError(absl::StrCat("checkpoint ", dir_, " has no tensor ", name, ": it is of another model"));
  }
  PHOTON_RETURN_IF_ERROR(CheckRequest(*tensor, region, out));
  int64_t filled = 0;
  for (const ManifestShard& shard : tensor->shards()) {
    const Region box = Intersect(ShardRegion(shard), region);
    if (box.shape.rank() == 0) continue;
    if (const absl::Status read = ReadShardBox(dir_, shard, box, region, out); !read.ok()) {
      return Damaged(dir_, absl::StrCat(dir_, "/", shard.file()), read);
    }
    filled += box.shape.elements();
  }
  if (filled == region.shape.elements()) return absl::OkStatus();
  return Damaged(dir_, absl::StrCat(dir_, "/", kManifestName),
                 absl::DataLossError(absl::StrCat("shards of ", name, " leave a hole in ", ToString(region))));
}

}  // namespace photon
