// A file that the command line asks for, or none; opened before the work, so that a wrong path costs none.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/file.h"

namespace photon {

// A file that an option names; an empty path: none.
struct NamedFile {
  std::string option, path;
};
// kInvalidArgument where what is to be written is a file that is read, or two that are written are one: the second
// would replace the first.
absl::Status CheckDistinct(const std::vector<NamedFile>& written, const std::vector<NamedFile>& read);

class WantedFile {
 public:
  // Of an empty path: none, and what is put there is dropped.
  static absl::StatusOr<WantedFile> Open(const std::string& path) {
    WantedFile wanted;
    wanted.path_ = path;
    if (path.empty()) return wanted;
    PHOTON_ASSIGN_OR_RETURN(OutputFile file, OutputFile::Create(path));
    wanted.file_ = std::make_unique<OutputFile>(std::move(file));
    return wanted;
  }
  // All of the file: it appears, whole, under its name. Once more: in place of what was put before.
  absl::Status Put(const std::string& content) {
    if (path_.empty()) return absl::OkStatus();
    if (file_ == nullptr) return WriteFile(path_, content);
    const std::unique_ptr<OutputFile> file = std::move(file_);
    PHOTON_RETURN_IF_ERROR(file->Write(content));
    PHOTON_RETURN_IF_ERROR(file->Sync());
    return file->Publish();
  }

 private:
  std::string path_;
  std::unique_ptr<OutputFile> file_;
};

}  // namespace photon
