// A file that the command line asks for, or none; opened before the work, so that a wrong path costs none.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "core/file.h"

namespace photon {

class WantedFile {
 public:
  // Of an empty path: none, and what is put there is dropped.
  static absl::StatusOr<WantedFile> Open(const std::string& path) {
    WantedFile wanted;
    if (path.empty()) return wanted;
    PHOTON_ASSIGN_OR_RETURN(OutputFile file, OutputFile::Create(path));
    wanted.file_ = std::make_unique<OutputFile>(std::move(file));
    return wanted;
  }
  // All of the file: it appears, whole, under its name.
  absl::Status Put(const std::string& content) {
    if (file_ == nullptr) return absl::OkStatus();
    PHOTON_RETURN_IF_ERROR(file_->Write(content));
    PHOTON_RETURN_IF_ERROR(file_->Sync());
    return file_->Publish();
  }

 private:
  std::unique_ptr<OutputFile> file_;
};

}  // namespace photon
