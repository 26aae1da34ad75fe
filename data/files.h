// Input files in memory, and output files that appear whole or not at all.
#pragma once

#include <cstdint>
#include <string>
#include <utility>

#include "absl/strings/string_view.h"
#include "core/status.h"

namespace photon {

// XXH3-128 of `bytes`, 32 hex digits.
std::string HashHex(absl::string_view bytes);

// The contents of a file. `what` it is for stands in the message: "tokenizer x.model: No such file or directory".
absl::StatusOr<std::string> ReadWholeFile(const std::string& path, absl::string_view what);

// A read-only file in memory. Movable; pages come from disk as they are touched.
class MappedFile {
 public:
  static absl::StatusOr<MappedFile> Open(const std::string& path, absl::string_view what);
  MappedFile() = default;
  MappedFile(MappedFile&& other) noexcept : bytes_(std::exchange(other.bytes_, {})) {}
  MappedFile& operator=(MappedFile&& other) noexcept {
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~MappedFile();
  absl::string_view bytes() const { return bytes_; }

 private:
  absl::string_view bytes_;
};

// Writes PATH.tmp; Sync makes it durable, Publish gives it its name (replacing what had it). Without Publish the
// temporary file is removed. A second writer of the same path is refused. Used by one thread.
class OutputFile {
 public:
  static absl::StatusOr<OutputFile> Create(const std::string& path);
  OutputFile(OutputFile&& other) noexcept
      : path_(std::move(other.path_)), fd_(std::exchange(other.fd_, -1)), buffer_(std::move(other.buffer_)) {}
  OutputFile& operator=(OutputFile&&) = delete;
  ~OutputFile();

  absl::Status Write(absl::string_view bytes);
  absl::Status Sync();
  absl::Status Publish();

  // Reads back what was written, from the start, in pieces.
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
  OutputFile(std::string path, int fd) : path_(std::move(path)), fd_(fd) {}
  std::string temporary() const { return path_ + ".tmp"; }
  absl::Status Flush();
  absl::Status ReadBack(int64_t offset, std::string* piece);

  std::string path_;
  int fd_ = -1;
  std::string buffer_;
};

// Removes a file; absent is OK.
absl::Status RemoveFile(const std::string& path);

}  // namespace photon
