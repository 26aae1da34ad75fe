#include "data/files.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "xxhash.h"

namespace photon {
namespace {

constexpr size_t kBufferBytes = 1 << 20;

absl::Status IoError(absl::string_view what, absl::string_view path, int error = errno) {
  const std::string message = absl::StrCat(what, " ", path, ": ", std::strerror(error));
  if (error == ENOENT) return absl::NotFoundError(message);
  if (error == EACCES || error == EPERM) return absl::PermissionDeniedError(message);
  if (error == ENOSPC || error == EDQUOT) return absl::ResourceExhaustedError(message);
  return absl::InvalidArgumentError(message);
}

absl::StatusOr<int> OpenRegular(const std::string& path, absl::string_view what, int64_t* size) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return IoError(what, path);
  struct stat info;
  if (fstat(fd, &info) != 0 || S_ISDIR(info.st_mode)) {
    close(fd);
    return IoError(what, path, EISDIR);
  }
  *size = info.st_size;
  return fd;
}

}  // namespace

std::string HashHex(absl::string_view bytes) {
  const XXH128_hash_t hash = XXH3_128bits(bytes.data(), bytes.size());
  return absl::StrFormat("%016x%016x", hash.high64, hash.low64);
}

absl::StatusOr<std::string> ReadWholeFile(const std::string& path, absl::string_view what) {
  PHOTON_ASSIGN_OR_RETURN(const MappedFile file, MappedFile::Open(path, what));
  return std::string(file.bytes());
}

absl::StatusOr<MappedFile> MappedFile::Open(const std::string& path, absl::string_view what) {
  int64_t size = 0;
  PHOTON_ASSIGN_OR_RETURN(const int fd, OpenRegular(path, what, &size));
  MappedFile file;
  if (size > 0) {
    void* data = mmap(nullptr, size, PROT_READ, MAP_SHARED, fd, 0);
    const int error = errno;
    close(fd);
    if (data == MAP_FAILED) return IoError(what, path, error);
    file.bytes_ = {static_cast<const char*>(data), static_cast<size_t>(size)};
  } else {
    close(fd);
  }
  return file;
}

MappedFile::~MappedFile() {
  if (!bytes_.empty()) munmap(const_cast<char*>(bytes_.data()), bytes_.size());
}

absl::StatusOr<OutputFile> OutputFile::Create(const std::string& path) {
  const std::string temporary = path + ".tmp";
  const int fd = open(temporary.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  if (fd < 0) return IoError("cannot write", temporary);
  if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
    close(fd);
    return absl::AlreadyExistsError(
        absl::StrCat("another program is writing ", path, ": wait for it, or choose another name"));
  }
  OutputFile file(path, fd);
  if (ftruncate(fd, 0) != 0) return IoError("cannot write", temporary);  // what a killed run left
  return file;
}

OutputFile::~OutputFile() {
  if (fd_ < 0) return;
  unlink(temporary().c_str());
  close(fd_);
}

absl::Status OutputFile::Write(absl::string_view bytes) {
  buffer_.append(bytes.data(), bytes.size());
  return buffer_.size() >= kBufferBytes ? Flush() : absl::OkStatus();
}

absl::Status OutputFile::Flush() {
  for (size_t done = 0; done < buffer_.size();) {
    const ssize_t count = write(fd_, buffer_.data() + done, buffer_.size() - done);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return IoError("cannot write", temporary());
    done += count;
  }
  buffer_.clear();
  return absl::OkStatus();
}

absl::Status OutputFile::ReadBack(int64_t offset, std::string* piece) {
  PHOTON_RETURN_IF_ERROR(Flush());
  piece->resize(kBufferBytes);
  const ssize_t count = pread(fd_, piece->data(), piece->size(), offset);
  if (count < 0) return IoError("cannot read", temporary());
  piece->resize(count);
  return absl::OkStatus();
}

absl::Status OutputFile::Sync() {
  PHOTON_RETURN_IF_ERROR(Flush());
  return fsync(fd_) == 0 ? absl::OkStatus() : IoError("cannot write", temporary());
}

absl::Status OutputFile::Publish() {
  PHOTON_RETURN_IF_ERROR(Sync());
  if (rename(temporary().c_str(), path_.c_str()) != 0) return IoError("cannot write", path_);
  close(std::exchange(fd_, -1));
  const std::filesystem::path parent = std::filesystem::path(path_).parent_path();
  const int folder = open(parent.empty() ? "." : parent.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (folder < 0) return IoError("cannot write", parent.string());
  const int result = fsync(folder);
  close(folder);
  return result == 0 ? absl::OkStatus() : IoError("cannot write", parent.string());
}

absl::Status RemoveFile(const std::string& path) {
  return unlink(path.c_str()) == 0 || errno == ENOENT ? absl::OkStatus() : IoError("cannot remove", path);
}

}  // namespace photon
