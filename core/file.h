// Files: read whole or in parts, written so that they appear whole or not at all, and errors that name them.
#pragma once

#include <cstdint>
#include <string>
#include <utility>

#include "absl/strings/string_view.h"
#include "core/file_system.h"
#include "core/status.h"

namespace photon {

// "WHAT PATH: No space left on device; REMEDY", `what` being "cannot write" or, of input, what it is: "tokenizer". The
// code is kResourceExhausted where a disk, quota or size limit is full, kPermissionDenied, kNotFound,
// kInvalidArgument where PATH can be no such file (a folder, say), and kDataLoss for the rest
// (EIO, EMFILE, ..): trouble of this machine, never a bug (kInternal) nor another rank's or a network's (kUnavailable).
absl::Status FileError(int error, absl::string_view what, absl::string_view path);

// A file's contents; also a pipe's.
absl::StatusOr<std::string> ReadFile(const std::string& path, absl::string_view what = "cannot read");
// Fills `out` from `offset` on; returns fewer bytes than asked for only where the file ends. Any number of threads.
absl::StatusOr<int64_t> ReadAt(int fd, absl::string_view path, int64_t offset, char* out, int64_t size);

// Writes all of `bytes` at the descriptor's position, in as many calls as it takes. With O_DIRECT, from where that is
// refused (a piece or a place that is no multiple of the disk's blocks) through the page cache.
absl::Status WriteAll(FileSystem& files, int fd, absl::string_view bytes, absl::string_view path);
// Flushes a folder's entries, or a file's bytes, to disk.
absl::Status SyncPath(const std::string& path, FileSystem& files = RealFileSystem());
// The folder that holds `path`; "." for a bare name.
std::string ParentFolder(const std::string& path);
// Whether anything stands at `path`; a link to nothing does not count.
bool FileExists(const std::string& path);
// Removes a file, not a folder; absent is OK.
absl::Status RemoveFile(const std::string& path, FileSystem& files = RealFileSystem());
// A file `path` of these bytes, durably, in place of one that may be there: see OutputFile.
absl::Status WriteFile(const std::string& path, absl::string_view bytes, FileSystem& files = RealFileSystem());

// Writes PATH.tmp; Sync makes it durable, Publish durably gives it its name (replacing what had it). So PATH is never
// seen half-written, and stays what it was until Publish; without Publish the temporary file is removed. A second
// writer of the same path is refused with kAlreadyExists; what a killed one left is overwritten. Used by one thread.
class OutputFile {
 public:
  static absl::StatusOr<OutputFile> Create(const std::string& path, FileSystem& files = RealFileSystem());
  // Goes on after the first `bytes` bytes of the PATH.tmp that an earlier program left (0: from nothing). This one
  // stays as well when the object goes without Publish. kDataLoss where it holds fewer.
  static absl::StatusOr<OutputFile> Resume(const std::string& path, int64_t bytes,
                                           FileSystem& files = RealFileSystem());
  OutputFile(OutputFile&& other) noexcept
      : files_(other.files_),
        path_(std::move(other.path_)),
        fd_(std::exchange(other.fd_, -1)),
        keep_(other.keep_),
        buffer_bytes_(other.buffer_bytes_),
        buffer_(std::move(other.buffer_)) {}
  OutputFile& operator=(OutputFile&&) = delete;
  ~OutputFile();

  // Small writes are gathered up to so many bytes: 1 MiB unless told otherwise.
  void SetBuffer(size_t bytes) { buffer_bytes_ = bytes; }
  absl::Status Write(absl::string_view bytes);
  absl::Status Sync();
  absl::Status Publish();

  // Reads back what was written, from the start, in pieces of 1 MiB but for the last.
  template <typename F>
  absl::Status ForEachPiece(F&& f) {
    std::string piece;
    for (int64_t offset = 0;; offset += static_cast<int64_t>(piece.size())) {
      PHOTON_RETURN_IF_ERROR(ReadBack(offset, &piece));
      if (piece.empty()) return absl::OkStatus();
      PHOTON_RETURN_IF_ERROR(f(absl::string_view(piece)));
    }
  }

 private:
  OutputFile(FileSystem& files, std::string path, int fd) : files_(&files), path_(std::move(path)), fd_(fd) {}
  std::string temporary() const { return path_ + ".tmp"; }
  absl::Status Flush();
  absl::Status ReadBack(int64_t offset, std::string* piece);

  FileSystem* files_;
  std::string path_;
  int fd_ = -1;
  bool keep_ = false;  // the temporary file outlives the object
  size_t buffer_bytes_ = 1 << 20;
  std::string buffer_;
};

}  // namespace photon
