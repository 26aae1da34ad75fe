#include "core/checksum.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <memory>

#define XXH_INLINE_ALL  // this machine's vector width; the shared library is built for the oldest
#include <xxhash.h>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_format.h"
#include "core/file.h"

namespace photon {
namespace {

std::string ToHex(XXH128_hash_t hash) { return absl::StrFormat("%016x%016x", hash.high64, hash.low64); }

}  // namespace

std::string Checksum(absl::string_view bytes) { return ToHex(XXH3_128bits(bytes.data(), bytes.size())); }

StreamChecksum::StreamChecksum() : state_(XXH3_createState()) {
  XXH3_128bits_reset(static_cast<XXH3_state_t*>(state_));
}
StreamChecksum::~StreamChecksum() { XXH3_freeState(static_cast<XXH3_state_t*>(state_)); }
void StreamChecksum::Add(absl::string_view bytes) {
  XXH3_128bits_update(static_cast<XXH3_state_t*>(state_), bytes.data(), bytes.size());
}
std::string StreamChecksum::Hex() const { return ToHex(XXH3_128bits_digest(static_cast<XXH3_state_t*>(state_))); }

absl::StatusOr<FileChecksum> ChecksumFile(int fd, absl::string_view path, const BytesRead& progress) {
  constexpr int64_t kBlock = 1 << 20;  // stays in the second-level cache between read and hash
  const std::unique_ptr<char[]> block(new char[kBlock]);
  StreamChecksum sum;
  int64_t bytes = 0, read = kBlock;
  while (read == kBlock) {
    PHOTON_ASSIGN_OR_RETURN(read, ReadAt(fd, path, bytes, block.get(), kBlock));
    sum.Add({block.get(), static_cast<size_t>(read)});
    bytes += read;
    if (progress) progress(read);
  }
  return FileChecksum{bytes, sum.Hex()};
}

absl::StatusOr<FileChecksum> ChecksumFile(const std::string& path, const BytesRead& progress) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return FileError(errno, "cannot open", path);
  absl::Cleanup close_fd = [fd] { close(fd); };
  return ChecksumFile(fd, path, progress);
}

}  // namespace photon
