#include "core/folder.h"

#include <cerrno>
#include <filesystem>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/file.h"

namespace photon {
namespace {

namespace fs = std::filesystem;

// renameat2 is younger than some file systems.
bool CannotExchange(int error) { return error == EINVAL || error == ENOSYS || error == ENOTSUP; }

}  // namespace

absl::Status RemoveTree(const std::string& path, FileSystem& files) {
  std::error_code error;
  const fs::file_status status = fs::symlink_status(path, error);
  if (status.type() == fs::file_type::not_found) return absl::OkStatus();
  if (error) return FileError(error.value(), "cannot remove", path);
  if (status.type() != fs::file_type::directory) return RemoveFile(path, files);
  std::vector<std::string> entries;
  for (fs::directory_iterator at(path, error), end; !error && at != end; at.increment(error)) {
    entries.push_back(at->path().string());
  }
  if (error) return FileError(error.value(), "cannot remove", path);
  for (const std::string& entry : entries) PHOTON_RETURN_IF_ERROR(RemoveTree(entry, files));
  return files.RemoveFolder(path.c_str()) == 0 || errno == ENOENT ? absl::OkStatus()
                                                                  : FileError(errno, "cannot remove", path);
}

absl::Status MakeFolders(const std::string& path, FileSystem& files) {
  std::error_code error;
  if (fs::is_directory(path, error)) return absl::OkStatus();
  if (const std::string parent = ParentFolder(path); parent != path) PHOTON_RETURN_IF_ERROR(MakeFolders(parent, files));
  if (files.MakeFolder(path.c_str()) == 0) return SyncPath(ParentFolder(path), files);
  const int reason = errno;
  return fs::is_directory(path, error) ? absl::OkStatus() : FileError(reason, "cannot create", path);
}

absl::Status CommitFolder(const std::string& temporary, const std::string& final_dir, FileSystem& files) {
  PHOTON_RETURN_IF_ERROR(SyncPath(temporary, files));
  if (files.Rename(temporary.c_str(), final_dir.c_str()) == 0) return SyncPath(ParentFolder(final_dir), files);
  if (errno != ENOTEMPTY && errno != EEXIST) return FileError(errno, "cannot create", final_dir);

  std::string replaced = temporary;
  if (files.Exchange(temporary.c_str(), final_dir.c_str()) != 0) {
    if (!CannotExchange(errno)) return FileError(errno, "cannot replace", final_dir);
    replaced = absl::StrCat(final_dir, ".deleting");
    PHOTON_RETURN_IF_ERROR(RemoveTree(replaced, files));
    if (files.Rename(final_dir.c_str(), replaced.c_str()) != 0) {
      return FileError(errno, "cannot replace", final_dir);
    }
    if (files.Rename(temporary.c_str(), final_dir.c_str()) != 0) {
      const int error = errno;
      (void)files.Rename(replaced.c_str(), final_dir.c_str());  // back to what stood there
      return FileError(error, "cannot replace", final_dir);
    }
  }
  PHOTON_RETURN_IF_ERROR(SyncPath(ParentFolder(final_dir), files));
  (void)RemoveTree(replaced, files);  // what stays bears a name that is ignored, and goes with the next save
  return absl::OkStatus();
}

}  // namespace photon
