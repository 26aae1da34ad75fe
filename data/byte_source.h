// The bytes of a file, unpacked where its name ends in .gz (gzip, also of several members) or .zst (Zstandard, also of
// several frames). Used by one thread.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "core/status.h"

namespace photon {

class ByteSource {
 public:
  static absl::StatusOr<std::unique_ptr<ByteSource>> Open(const std::string& path);
  virtual ~ByteSource() = default;

  // Fills `out` with the next bytes; fewer than `size` only at the end. kDataLoss, with the file and the offset in it,
  // for an archive that is damaged or ends too early.
  virtual absl::StatusOr<int64_t> Read(char* out, int64_t size) = 0;
  // Passes over the next `bytes` bytes, fast where the file is not packed. kDataLoss where there are fewer.
  virtual absl::Status Skip(int64_t bytes) = 0;
  virtual int64_t consumed() const = 0;  // bytes of the file, packed, that were read
};

}  // namespace photon
