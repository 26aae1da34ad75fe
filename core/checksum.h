// 128 bits of XXH3, written as 32 hex digits: what files are known by again. It finds damage, not malice.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "absl/strings/string_view.h"
#include "core/status.h"

namespace photon {

std::string Checksum(absl::string_view bytes);

// The same of bytes that come in pieces.
class StreamChecksum {
 public:
  StreamChecksum();
  ~StreamChecksum();
  StreamChecksum(const StreamChecksum&) = delete;
  StreamChecksum& operator=(const StreamChecksum&) = delete;
  void Add(absl::string_view bytes);
  std::string Hex() const;  // of all that was added

 private:
  void* state_;
};

struct FileChecksum {
  int64_t bytes = 0;
  std::string xxh3;  // Checksum of the contents
};
// Called with the bytes that were read since the last call.
using BytesRead = std::function<void(int64_t bytes)>;
// Of an open file, whatever its position (`path` for messages), or of a file by name.
absl::StatusOr<FileChecksum> ChecksumFile(int fd, absl::string_view path, const BytesRead& progress = {});
absl::StatusOr<FileChecksum> ChecksumFile(const std::string& path, const BytesRead& progress = {});

}  // namespace photon
