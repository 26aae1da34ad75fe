#include "core/file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"

namespace photon {
namespace {

constexpr size_t kPieceBytes = 1 << 20;
constexpr int64_t kLargestCall = 1 << 30;  // Linux reads and writes at most 2 GiB - 4 kiB a call

// Whether the descriptor wrote past the page cache until now: this piece, or this file system, can't.
bool LeaveDirect(int fd) {
  const int flags = fcntl(fd, F_GETFL);
  return flags >= 0 && (flags & O_DIRECT) != 0 && fcntl(fd, F_SETFL, flags & ~O_DIRECT) == 0;
}

// Takes the lock of a temporary file, and sees to it that it is still that: the writer before us may have published it
// between our opening it and its letting go of the lock. False: another program is writing.
bool LockTemporary(int fd, const std::string& temporary) {
  // Some network file systems have no locks; there nothing keeps two writers apart.
  if (flock(fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) return false;
  struct stat opened, named;
  return fstat(fd, &opened) == 0 && stat(temporary.c_str(), &named) == 0 && opened.st_ino == named.st_ino;
}

// What the user can do, "; do this", where that is known.
std::string Remedy(int error, bool writes, const std::string& path) {
  switch (error) {
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
      return "; free some space there";
    case ENOENT:
      return writes ? absl::StrCat("; make the folder first: mkdir -p ", ParentFolder(path)) : "";
    case EACCES:
    case EPERM:
      return writes ? absl::StrCat("; choose another place, or get the right to write in ", ParentFolder(path))
                    : "; get the right to read it (chmod, chown)";
    case EROFS:
      return "; that file system is read-only: choose another place";
    default:
      return "";
  }
}

}  // namespace

absl::Status FileError(int error, absl::string_view what, absl::string_view path) {
  const bool writes = what == "cannot write" || what == "cannot create" || what == "cannot replace";
  const std::string message =
      absl::StrCat(what, " ", path, ": ", std::strerror(error), Remedy(error, writes, std::string(path)));
  switch (error) {
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
      return absl::ResourceExhaustedError(message);
    case EACCES:
    case EPERM:
    case EROFS:
      return absl::PermissionDeniedError(message);
    case ENOENT:
    case ENOTDIR:
      return absl::NotFoundError(message);
    case EISDIR:
    case ELOOP:
    case ENAMETOOLONG:
      return absl::InvalidArgumentError(message);
    default:
      return absl::DataLossError(message);
  }
}

absl::StatusOr<std::string> ReadFile(const std::string& path, absl::string_view what) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return FileError(errno, what, path);
  absl::Cleanup close_fd = [fd] { close(fd); };
  struct stat info;
  if (fstat(fd, &info) != 0) return FileError(errno, what, path);
  std::string bytes(std::max<int64_t>(info.st_size, 0) + 1, '\0');  // + 1: the end shows without another round
  size_t size = 0;
  while (true) {  // not by the size alone: pipes have none, and some files grow
    if (size == bytes.size()) bytes.resize(size + kPieceBytes);
    const ssize_t n = read(fd, bytes.data() + size, std::min<int64_t>(bytes.size() - size, kLargestCall));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return FileError(errno, what, path);
    if (n == 0) break;
    size += n;
  }
  bytes.resize(size);
  return bytes;
}

absl::StatusOr<int64_t> ReadAt(int fd, absl::string_view path, int64_t offset, char* out, int64_t size) {
  int64_t done = 0;
  while (done < size) {
    const ssize_t n = pread(fd, out + done, std::min(size - done, kLargestCall), offset + done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return FileError(errno, "cannot read", path);
    if (n == 0) break;
    done += n;
  }
  return done;
}

absl::Status WriteAll(FileSystem& files, int fd, absl::string_view bytes, absl::string_view path) {
  while (!bytes.empty()) {
    const ssize_t n = files.Write(fd, bytes.data(), std::min<int64_t>(bytes.size(), kLargestCall));
    if (n < 0 && (errno == EINTR || (errno == EINVAL && LeaveDirect(fd)))) continue;
    if (n <= 0) return FileError(n < 0 ? errno : EIO, "cannot write", path);
    bytes.remove_prefix(n);
  }
  return absl::OkStatus();
}

absl::Status SyncPath(const std::string& path, FileSystem& files) {
  const int fd = files.Open(path.c_str(), O_RDONLY);
  if (fd < 0) return FileError(errno, "cannot open", path);
  absl::Cleanup close_fd = [&] { files.Close(fd); };
  if (files.Sync(fd) != 0 && errno != EINVAL)
    return FileError(errno, "cannot flush", path);  // EINVAL: needs no flushing
  return absl::OkStatus();
}

bool FileExists(const std::string& path) { return access(path.c_str(), F_OK) == 0; }

std::string ParentFolder(const std::string& path) {
  const std::string parent = std::filesystem::path(path).parent_path().string();
  return parent.empty() ? "." : parent;
}

absl::Status RemoveFile(const std::string& path, FileSystem& files) {
  return files.Unlink(path.c_str()) == 0 || errno == ENOENT ? absl::OkStatus()
                                                            : FileError(errno, "cannot remove", path);
}

absl::Status WriteFile(const std::string& path, absl::string_view bytes, FileSystem& files) {
  PHOTON_ASSIGN_OR_RETURN(OutputFile file, OutputFile::Create(path, files));
  PHOTON_RETURN_IF_ERROR(file.Write(bytes));
  return file.Publish();
}

absl::StatusOr<OutputFile> OutputFile::Create(const std::string& path, FileSystem& files) {
  PHOTON_ASSIGN_OR_RETURN(OutputFile file, Resume(path, 0, files));  // without what a killed run left
  file.keep_ = false;
  return file;
}

absl::StatusOr<OutputFile> OutputFile::Resume(const std::string& path, int64_t bytes, FileSystem& files) {
  const std::string temporary = path + ".tmp";
  const int fd = files.Open(temporary.c_str(), O_RDWR | O_CREAT);
  if (fd < 0) return FileError(errno, "cannot write", temporary);
  if (!LockTemporary(fd, temporary)) {
    files.Close(fd);
    return absl::AlreadyExistsError(
        absl::StrCat("another program is writing ", path, ": wait for it, or choose another name"));
  }
  OutputFile file(files, path, fd);
  file.keep_ = true;
  struct stat info;
  if (fstat(fd, &info) != 0) return FileError(errno, "cannot read", temporary);
  if (info.st_size < bytes) {
    return absl::DataLossError(absl::StrCat(temporary, " holds ", info.st_size, " bytes of ", bytes, " once written"));
  }
  if (files.Truncate(fd, bytes) != 0 || lseek(fd, bytes, SEEK_SET) != bytes) {
    return FileError(errno, "cannot write", temporary);
  }
  return file;
}

OutputFile::~OutputFile() {
  if (fd_ < 0) return;
  if (!keep_) files_->Unlink(temporary().c_str());
  files_->Close(fd_);
}

absl::Status OutputFile::Write(absl::string_view bytes) {
  if (bytes.size() >= buffer_bytes_) {  // large ones go by without a copy
    PHOTON_RETURN_IF_ERROR(Flush());
    return WriteAll(*files_, fd_, bytes, temporary());
  }
  buffer_.append(bytes.data(), bytes.size());
  return buffer_.size() >= buffer_bytes_ ? Flush() : absl::OkStatus();
}

absl::Status OutputFile::Flush() {
  PHOTON_RETURN_IF_ERROR(WriteAll(*files_, fd_, buffer_, temporary()));
  buffer_.clear();
  return absl::OkStatus();
}

absl::Status OutputFile::ReadBack(int64_t offset, std::string* piece) {
  PHOTON_RETURN_IF_ERROR(Flush());
  piece->resize(kPieceBytes);
  PHOTON_ASSIGN_OR_RETURN(const int64_t count, ReadAt(fd_, temporary(), offset, piece->data(), kPieceBytes));
  piece->resize(count);
  return absl::OkStatus();
}

absl::Status OutputFile::Sync() {
  PHOTON_RETURN_IF_ERROR(Flush());
  return files_->Sync(fd_) == 0 ? absl::OkStatus() : FileError(errno, "cannot flush", temporary());
}

absl::Status OutputFile::Publish() {
  PHOTON_RETURN_IF_ERROR(Sync());
  if (files_->Rename(temporary().c_str(), path_.c_str()) != 0) return FileError(errno, "cannot replace", path_);
  files_->Close(std::exchange(fd_, -1));
  return SyncPath(ParentFolder(path_), *files_);
}

}  // namespace photon
