#include "checkpoint/unsynced_file.h"

#include <fcntl.h>

#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/checksum.h"
#include "core/file.h"

namespace photon {
namespace {

// The disk begins to work while later bytes are written. A hint: what it answers does not matter.
constexpr uint64_t kWriteBehind = 32 << 20;

}  // namespace

UnsyncedFile::UnsyncedFile(UnsyncedFile&& other) noexcept
    : path_(std::move(other.path_)),
      files_(other.files_),
      fd_(std::exchange(other.fd_, -1)),
      entry_(std::move(other.entry_)) {}

UnsyncedFile::~UnsyncedFile() {
  if (fd_ >= 0) files_.Close(fd_);
}

absl::StatusOr<UnsyncedFile> UnsyncedFile::Write(const std::string& dir, const std::string& name,
                                                 const Hdf5Image& image, FileSystem& files) {
  const std::string path = absl::StrCat(dir, "/", name);
  const int fd = files.Open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL);
  if (fd < 0) return FileError(errno, "cannot create", path);
  UnsyncedFile file(path, files, fd);
  StreamChecksum checksum;
  uint64_t written = 0, begun = 0;
  PHOTON_RETURN_IF_ERROR(image.ForEachPiece([&](absl::string_view piece) {
    checksum.Add(piece);
    PHOTON_RETURN_IF_ERROR(WriteAll(files, fd, piece, path));
    written += piece.size();
    if (written - begun >= kWriteBehind) {
      sync_file_range(fd, static_cast<off_t>(begun), static_cast<off_t>(written - begun), SYNC_FILE_RANGE_WRITE);
      begun = written;
    }
    return absl::OkStatus();
  }));
  sync_file_range(fd, static_cast<off_t>(begun), 0, SYNC_FILE_RANGE_WRITE);
  file.entry_.set_name(name);
  file.entry_.set_bytes(static_cast<int64_t>(written));
  file.entry_.set_xxh3(checksum.Hex());
  return file;
}

absl::StatusOr<ManifestFile> UnsyncedFile::Sync() {
  if (files_.Sync(fd_) != 0) return FileError(errno, "cannot flush", path_);
  return entry_;
}

}  // namespace photon
