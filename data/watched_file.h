// A file that is read while other programs may replace or change it: they can make a read fail, never end the process.
// (A memory map would: touching a page beyond the new end of a truncated file is SIGBUS. It would be half a microsecond
// a read faster, of the two that a sample takes: bench/data_loader.cc prints both.)
#pragma once

#include <cstdint>
#include <string>
#include <utility>

#include "core/status.h"

namespace photon {

// Movable; any number of threads may read.
class WatchedFile {
 public:
  // `what` names its kind in messages: "token file".
  static absl::StatusOr<WatchedFile> Open(const std::string& path, const std::string& what);
  WatchedFile() = default;
  WatchedFile(WatchedFile&& other) noexcept { *this = std::move(other); }
  WatchedFile& operator=(WatchedFile&& other) noexcept;
  ~WatchedFile();

  const std::string& path() const { return path_; }
  int64_t size() const { return size_; }  // when it was opened

  // Fills `out` from `offset` on. kFailedPrecondition where the file ends before, having been cut since it was opened.
  absl::Status Read(int64_t offset, void* out, int64_t size) const;
  // kFailedPrecondition, naming the file, where the path no longer leads to the file that was opened, or its size or
  // the time of its last change is another. One system call.
  absl::Status CheckUnchanged() const;

 private:
  absl::Status Changed(const std::string& how) const;

  std::string what_, path_;
  int fd_ = -1;
  int64_t size_ = 0;
  uint64_t device_ = 0, inode_ = 0;
  int64_t changed_s_ = 0, changed_ns_ = 0;  // mtime
};

}  // namespace photon
