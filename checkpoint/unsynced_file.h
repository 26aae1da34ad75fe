// A file of a checkpoint on its way to the disk: written in one pass that sums it too, flushed later.
#pragma once

#include <string>

#include "checkpoint/hdf5_image.h"
#include "configs/checkpoint.pb.h"
#include "core/file_system.h"
#include "core/status.h"

namespace photon {

// A file being made durable: its bytes are written, and on their way to the disk.
class UnsyncedFile {
 public:
  // Creates `dir`/`name` (must not exist) of the image's bytes. kResourceExhausted where there is no room, with the
  // file's name; the file may be left there, half-written.
  static absl::StatusOr<UnsyncedFile> Write(const std::string& dir, const std::string& name, const Hdf5Image& image,
                                            FileSystem& files);
  UnsyncedFile(UnsyncedFile&& other) noexcept;
  UnsyncedFile& operator=(UnsyncedFile&&) = delete;
  ~UnsyncedFile();

  // Waits until the bytes are on disk. Its name, size and checksum.
  absl::StatusOr<ManifestFile> Sync();

 private:
  UnsyncedFile(std::string path, FileSystem& files, int fd) : path_(std::move(path)), files_(files), fd_(fd) {}

  std::string path_;
  FileSystem& files_;
  int fd_;
  ManifestFile entry_;
};

}  // namespace photon
