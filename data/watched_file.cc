#include "data/watched_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "core/check.h"
#include "core/file.h"

namespace photon {

absl::StatusOr<WatchedFile> WatchedFile::Open(const std::string& path, const std::string& what) {
  WatchedFile file;
  file.what_ = what;
  file.path_ = path;
  file.fd_ = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file.fd_ < 0) return FileError(errno, what, path);
  struct stat info;
  if (fstat(file.fd_, &info) != 0) return FileError(errno, what, path);
  if (S_ISDIR(info.st_mode)) return FileError(EISDIR, what, path);
  file.size_ = info.st_size;
  file.device_ = info.st_dev;
  file.inode_ = info.st_ino;
  file.changed_s_ = info.st_mtim.tv_sec;
  file.changed_ns_ = info.st_mtim.tv_nsec;
  // Samples are read in a random order: reading ahead would fetch what nobody asked for.
  posix_fadvise(file.fd_, 0, 0, POSIX_FADV_RANDOM);
  return file;
}

WatchedFile& WatchedFile::operator=(WatchedFile&& other) noexcept {
  std::swap(what_, other.what_);
  std::swap(path_, other.path_);
  std::swap(fd_, other.fd_);
  std::swap(size_, other.size_);
  std::swap(device_, other.device_);
  std::swap(inode_, other.inode_);
  std::swap(changed_s_, other.changed_s_);
  std::swap(changed_ns_, other.changed_ns_);
  return *this;
}

WatchedFile::~WatchedFile() {
  if (fd_ >= 0) close(fd_);
}

absl::Status WatchedFile::Changed(const std::string& how) const {
  return absl::FailedPreconditionError(
      absl::StrCat(what_, " ", path_, " changed while it was read: ", how,
                   "; put back the file that the run began with, or begin a new run on the new one"));
}

absl::Status WatchedFile::Read(int64_t offset, void* out, int64_t size) const {
  PHOTON_CHECK(offset >= 0 && offset <= size_ - size) << path_ << ": " << offset << " + " << size << " of " << size_;
  PHOTON_ASSIGN_OR_RETURN(const int64_t got, ReadAt(fd_, path_, offset, static_cast<char*>(out), size));
  return got == size ? absl::OkStatus()
                     : Changed(absl::StrCat("it had ", size_, " bytes, and ends before byte ", offset + size));
}

absl::Status WatchedFile::CheckUnchanged() const {
  struct stat info;
  if (stat(path_.c_str(), &info) != 0) return Changed(std::strerror(errno));
  if (static_cast<uint64_t>(info.st_dev) != device_ || static_cast<uint64_t>(info.st_ino) != inode_) {
    return Changed("another file has its name now");
  }
  if (info.st_size != size_) return Changed(absl::StrCat("it had ", size_, " bytes, and has ", info.st_size));
  if (info.st_mtim.tv_sec != changed_s_ || info.st_mtim.tv_nsec != changed_ns_) {
    return Changed("it was written to");
  }
  return absl::OkStatus();
}

}  // namespace photon
