#include "checkpoint/files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <vector>

#define XXH_INLINE_ALL  // this machine's vector width; the shared library is built for the oldest
#include <xxhash.h>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace photon {
namespace {

std::string Hex(XXH128_hash_t hash) { return absl::StrFormat("%016x%016x", hash.high64, hash.low64); }

absl::Status WriteAll(int fd, absl::string_view bytes, const std::string& path) {
  while (!bytes.empty()) {
    const ssize_t n = write(fd, bytes.data(), std::min<size_t>(bytes.size(), 1 << 30));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return FileError(errno, "cannot write", path);
    bytes.remove_prefix(n);
  }
  return absl::OkStatus();
}

absl::Status WriteDurably(const std::string& path, const std::function<absl::Status(const ByteSink&)>& write) {
  const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (fd < 0) return FileError(errno, "cannot create", path);
  absl::Cleanup close_fd = [fd] { close(fd); };
  PHOTON_RETURN_IF_ERROR(write([&](absl::string_view bytes) { return WriteAll(fd, bytes, path); }));
  if (fsync(fd) != 0) return FileError(errno, "cannot flush", path);
  return absl::OkStatus();
}

}  // namespace

absl::Status FileError(int error, absl::string_view what, absl::string_view path) {
  const std::string message = absl::StrCat(what, " ", path, ": ", strerror(error));
  switch (error) {
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
      return absl::ResourceExhaustedError(absl::StrCat(message, "; free some space there"));
    case EACCES:
    case EPERM:
    case EROFS:
      return absl::PermissionDeniedError(message);
    case ENOENT:
    case ENOTDIR:
      return absl::NotFoundError(message);
    default:
      return absl::InternalError(message);
  }
}

std::string Checksum(absl::string_view bytes) { return Hex(XXH3_128bits(bytes.data(), bytes.size())); }

absl::StatusOr<ManifestFile> DescribeFile(int fd, absl::string_view path) {
  constexpr size_t kBlock = 1 << 20;  // stays in the second-level cache between read and hash
  const std::unique_ptr<char[]> block(new char[kBlock]);
  const std::unique_ptr<XXH3_state_t, decltype(&XXH3_freeState)> state(XXH3_createState(), XXH3_freeState);
  XXH3_128bits_reset(state.get());
  int64_t bytes = 0;
  while (true) {
    const ssize_t n = pread(fd, block.get(), kBlock, bytes);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return FileError(errno, "cannot read", path);
    if (n == 0) break;
    XXH3_128bits_update(state.get(), block.get(), n);
    bytes += n;
  }
  ManifestFile file;
  file.set_bytes(bytes);
  file.set_xxh3(Hex(XXH3_128bits_digest(state.get())));
  return file;
}

absl::StatusOr<ManifestFile> DescribeFile(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return FileError(errno, "cannot open", path);
  absl::Cleanup close_fd = [fd] { close(fd); };
  return DescribeFile(fd, path);
}

absl::StatusOr<std::string> ReadFile(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return FileError(errno, "cannot open", path);
  absl::Cleanup close_fd = [fd] { close(fd); };
  std::string bytes;
  std::vector<char> block(1 << 16);
  while (true) {
    const ssize_t n = read(fd, block.data(), block.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return FileError(errno, "cannot read", path);
    if (n == 0) return bytes;
    bytes.append(block.data(), n);
  }
}

absl::Status WriteFileDurably(const std::string& path, absl::string_view bytes) {
  return WriteDurably(path, [bytes](const ByteSink& sink) { return sink(bytes); });
}

absl::Status ReplaceFile(const std::string& path, const std::function<absl::Status(const ByteSink&)>& write) {
  const std::string temporary = absl::StrCat(path, ".tmp");
  absl::Status status = WriteDurably(temporary, write);
  if (status.ok() && rename(temporary.c_str(), path.c_str()) != 0) status = FileError(errno, "cannot replace", path);
  if (!status.ok()) {
    unlink(temporary.c_str());
    return status;
  }
  return SyncPath(ParentFolder(path));
}

absl::Status SyncPath(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return FileError(errno, "cannot open", path);
  absl::Cleanup close_fd = [fd] { close(fd); };
  if (fsync(fd) != 0 && errno != EINVAL) return FileError(errno, "cannot flush", path);  // EINVAL: needs no flushing
  return absl::OkStatus();
}

std::string ParentFolder(const std::string& path) {
  const std::string parent = std::filesystem::path(path).parent_path().string();
  return parent.empty() ? "." : parent;
}

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
