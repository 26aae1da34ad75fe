#include "core/folder.h"

#include <fcntl.h>
#include <stdio.h>

#include <cerrno>
#include <filesystem>

#include "absl/strings/str_cat.h"
#include "core/file.h"

namespace photon {

absl::Status RemoveTree(const std::string& path) {
  std::error_code error;
  std::filesystem::remove_all(path, error);
  return error ? FileError(error.value(), "cannot remove", path) : absl::OkStatus();
}

absl::Status CommitFolder(const std::string& temporary, const std::string& final_dir) {
  PHOTON_RETURN_IF_ERROR(SyncPath(temporary));
  if (rename(temporary.c_str(), final_dir.c_str()) == 0) return SyncPath(ParentFolder(final_dir));
  if (errno != ENOTEMPTY && errno != EEXIST) return FileError(errno, "cannot create", final_dir);

  std::string replaced = temporary;
  if (renameat2(AT_FDCWD, temporary.c_str(), AT_FDCWD, final_dir.c_str(), RENAME_EXCHANGE) != 0) {
    replaced = absl::StrCat(final_dir, ".deleting");
    PHOTON_RETURN_IF_ERROR(RemoveTree(replaced));
    if (rename(final_dir.c_str(), replaced.c_str()) != 0) return FileError(errno, "cannot replace", final_dir);
    if (rename(temporary.c_str(), final_dir.c_str()) != 0) {
      const int error = errno;
      (void)rename(replaced.c_str(), final_dir.c_str());  // back to what stood there
      return FileError(error, "cannot replace", final_dir);
    }
  }
  PHOTON_RETURN_IF_ERROR(SyncPath(ParentFolder(final_dir)));
  (void)RemoveTree(replaced);  // what stays bears a name that is ignored, and goes with the next save
  return absl::OkStatus();
}

}  // namespace photon
