// 128 bits of XXH3, written as 32 hex digits: what files are known by again. It finds damage, not malice.
#pragma once

#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"
#include "core/status.h"

namespace photon {

std::string Checksum(absl::string_view bytes);

struct FileChecksum {
  int64_t bytes = 0;
  std::string xxh3;  // Checksum of the contents
};
// Of an open file, whatever its position (`path` for messages), or of a file by name.
absl::StatusOr<FileChecksum> ChecksumFile(int fd, absl::string_view path);
absl::StatusOr<FileChecksum> ChecksumFile(const std::string& path);

}  // namespace photon
