#include "checkpoint/unsynced_file.h"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/check.h"
#include "core/checksum.h"
#include "core/file.h"

namespace photon {
namespace {

constexpr size_t kAlignment = 4096;      // that O_DIRECT asks of addresses, sizes and places, on any disk
constexpr size_t kBlockBytes = 4 << 20;  // of a write: 1 MiB takes a fifth longer
constexpr uint64_t kWriteBehind = 32 << 20;

// Bytes on their way to a file, gathered into blocks that go past the page cache where the file system can do that:
// the disk then reads them from memory by itself. 447 MB cost 0.05 s of a processor instead of 0.3 to 1.3 s (copying
// and making pages), which a save behind the training takes from the training, and 0.2 s instead of 0.4 to 1.4 s.
class BlockWriter {
 public:
  BlockWriter(FileSystem& files, int fd, const std::string& path)
      : files_(files), fd_(fd), path_(path), block_(static_cast<char*>(std::aligned_alloc(kAlignment, kBlockBytes))) {
    PHOTON_CHECK(block_ != nullptr) << "no memory for a block of " << kBlockBytes << " bytes";
    fcntl(fd, F_SETFL, O_DIRECT);  // where it is refused, the page cache serves
  }

  absl::Status Write(absl::string_view bytes) {
    while (!bytes.empty()) {
      const size_t count = std::min(bytes.size(), kBlockBytes - filled_);
      std::memcpy(block_.get() + filled_, bytes.data(), count);
      filled_ += count;
      bytes.remove_prefix(count);
      if (filled_ == kBlockBytes) PHOTON_RETURN_IF_ERROR(Flush());
    }
    return absl::OkStatus();
  }

  absl::Status Finish() {
    PHOTON_RETURN_IF_ERROR(Flush());
    BeginWriteBack();
    return absl::OkStatus();
  }

  uint64_t written() const { return written_; }

 private:
  struct Free {
    void operator()(char* block) const { std::free(block); }
  };

  absl::Status Flush() {
    PHOTON_RETURN_IF_ERROR(WriteAll(files_, fd_, absl::string_view(block_.get(), filled_), path_));
    written_ += std::exchange(filled_, 0);
    if (written_ - begun_ >= kWriteBehind) BeginWriteBack();
    return absl::OkStatus();
  }

  // What lies in the page cache goes to the disk while later bytes are written. A hint: its answer does not matter.
  void BeginWriteBack() {
    sync_file_range(fd_, static_cast<off_t>(begun_), static_cast<off_t>(written_ - begun_), SYNC_FILE_RANGE_WRITE);
    begun_ = written_;
  }

  FileSystem& files_;
  const int fd_;
  const std::string& path_;
  const std::unique_ptr<char, Free> block_;
  size_t filled_ = 0;
  uint64_t written_ = 0, begun_ = 0;
};

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
  BlockWriter writer(files, fd, path);
  PHOTON_RETURN_IF_ERROR(image.ForEachPiece([&](absl::string_view piece) {
    checksum.Add(piece);
    return writer.Write(piece);
  }));
  PHOTON_RETURN_IF_ERROR(writer.Finish());
  file.entry_.set_name(name);
  file.entry_.set_bytes(static_cast<int64_t>(writer.written()));
  file.entry_.set_xxh3(checksum.Hex());
  return file;
}

absl::StatusOr<ManifestFile> UnsyncedFile::Sync() {
  if (files_.Sync(fd_) != 0) return FileError(errno, "cannot flush", path_);
  return entry_;
}

}  // namespace photon
