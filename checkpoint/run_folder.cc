// The checkpoints of a run: names, `latest`, which to keep.
#include <errno.h>

#include <algorithm>
#include <filesystem>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"
#include "checkpoint/manifest.h"
#include "checkpoint/store.h"
#include "core/file.h"
#include "core/folder.h"

namespace photon {
namespace {

namespace fs = std::filesystem;

constexpr char kFolder[] = "checkpoints";
constexpr char kLatest[] = "latest";

std::string StepName(int64_t step) { return absl::StrFormat("step-%08d", step); }

// The step of a folder's name; -1 where it is not one of StepName's.
int64_t StepOf(absl::string_view name) {
  int64_t step = -1;
  if (!absl::ConsumePrefix(&name, "step-") || !absl::SimpleAtoi(name, &step) || step < 0) return -1;
  return StepName(step) == absl::StrCat("step-", name) ? step : -1;
}

bool HasManifest(const fs::path& dir) {
  std::error_code error;
  return fs::is_regular_file(dir / kManifestName, error);
}

// The first of `dirs` that was finished; empty where none was.
std::string FirstFinished(const std::vector<std::string>& dirs) {
  const auto at = std::find_if(dirs.begin(), dirs.end(), HasManifest);
  return at == dirs.end() ? "" : *at;
}

absl::Status SwingLatest(FileSystem& files, const fs::path& folder, int64_t step) {
  const std::string temporary = (folder / ".latest.tmp").string(), latest = (folder / kLatest).string();
  PHOTON_RETURN_IF_ERROR(RemoveFile(temporary, files));
  if (files.MakeLink(StepName(step).c_str(), temporary.c_str()) != 0)
    return FileError(errno, "cannot create", temporary);
  if (files.Rename(temporary.c_str(), latest.c_str()) != 0) {
    const int error = errno;
    files.Unlink(temporary.c_str());
    return FileError(error, "cannot replace", latest);
  }
  return SyncPath(folder.string(), files);
}

// What saves that were killed, and removals that were, left behind. No save of the run is under way here.
absl::Status RemoveLeftovers(FileSystem& files, const fs::path& folder) {
  std::vector<std::string> leftovers;
  std::error_code error;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder, error)) {
    const std::string filename = entry.path().filename().string();
    absl::string_view name = filename;
    if (!absl::ConsumeSuffix(&name, ".tmp") && !absl::ConsumeSuffix(&name, ".deleting")) continue;
    if (StepOf(name) >= 0) leftovers.push_back(entry.path().string());
  }
  for (const std::string& path : leftovers) PHOTON_RETURN_IF_ERROR(RemoveTree(path, files));
  return absl::OkStatus();
}

}  // namespace

std::string CheckpointDir(const std::string& run_dir, int64_t step) {
  return (fs::path(run_dir) / kFolder / StepName(step)).string();
}

bool InRunFolder(const std::string& dir) {
  const fs::path path(dir);
  return StepOf(path.filename().string()) >= 0 && path.parent_path().filename() == kFolder;
}

absl::Status PublishCheckpoint(const std::string& run_dir, int64_t step, int keep_last, FileSystem& files,
                               int64_t also_keep) {
  const fs::path folder = fs::path(run_dir) / kFolder;
  if (!HasManifest(folder / StepName(step))) {
    return absl::NotFoundError(absl::StrCat(CheckpointDir(run_dir, step), " is no finished checkpoint"));
  }
  PHOTON_RETURN_IF_ERROR(SwingLatest(files, folder, step));
  PHOTON_RETURN_IF_ERROR(RemoveLeftovers(files, folder));
  if (keep_last <= 0) return absl::OkStatus();
  int kept = 0;
  for (const std::string& dir : ListCheckpoints(run_dir)) {
    // Later steps than the published one were refused when the run resumed: they neither count nor go.
    // Nor do broken ones: what is left of them may be all that is left of a copy.
    const int64_t found = StepOf(fs::path(dir).filename().string());
    if (found > step || !HasManifest(dir) || ++kept <= keep_last || found == also_keep) continue;
    const std::string doomed = absl::StrCat(dir, ".deleting");  // so that no reader starts on it
    if (files.Rename(dir.c_str(), doomed.c_str()) != 0) return FileError(errno, "cannot remove", dir);
    PHOTON_RETURN_IF_ERROR(RemoveTree(doomed, files));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> ResolveCheckpoint(const std::string& path) {
  std::error_code error;
  if (!fs::exists(path, error)) return absl::NotFoundError(absl::StrCat("no such folder: ", path));
  const fs::path latest = fs::path(path) / kFolder / kLatest;
  if (HasManifest(latest)) {
    // The folder itself, so that a swing of the link while it is read does not mix two checkpoints.
    const fs::path target = fs::read_symlink(latest, error);
    return error ? latest.string() : (latest.parent_path() / target).string();
  }
  if (HasManifest(path)) {
    const fs::path real = fs::canonical(path, error);  // `path` may be a link such as .../latest
    return error || !fs::is_symlink(path, error) ? path : real.string();
  }
  if (const std::string newest = FirstFinished(ListCheckpoints(path)); !newest.empty()) return newest;
  return absl::NotFoundError(absl::StrCat("no checkpoint in ", path, ": neither a checkpoint folder (no ",
                                          kManifestName, ") nor a run folder with finished ones in ", kFolder, "/"));
}

std::vector<std::string> ListCheckpoints(const std::string& run_dir) {
  std::vector<std::pair<int64_t, std::string>> found;
  std::error_code error, ignored;
  for (const fs::directory_entry& entry : fs::directory_iterator(fs::path(run_dir) / kFolder, error)) {
    const int64_t step = StepOf(entry.path().filename().string());
    if (step >= 0 && fs::is_directory(entry.path(), ignored)) found.emplace_back(step, entry.path().string());
  }
  std::sort(found.rbegin(), found.rend());
  std::vector<std::string> dirs;
  for (auto& [step, dir] : found) dirs.push_back(std::move(dir));
  return dirs;
}

}  // namespace photon
