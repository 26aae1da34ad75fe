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

std::string Hex(XXH128_hash_t hash) { return absl::StrFormat("%016x%016x", hash.high64, hash.low64); }

}  // namespace

std::string Checksum(absl::string_view bytes) { return Hex(XXH3_128bits(bytes.data(), bytes.size())); }

absl::StatusOr<FileChecksum> ChecksumFile(int fd, absl::string_view path) {
  constexpr int64_t kBlock = 1 << 20;  // stays in the second-level cache between read and hash
  const std::unique_ptr<char[]> block(new char[kBlock]);
  const std::unique_ptr<XXH3_state_t, decltype(&XXH3_freeState)> state(XXH3_createState(), XXH3_freeState);
  XXH3_128bits_reset(state.get());
  int64_t bytes = 0, read = kBlock;
  while (read == kBlock) {
    PHOTON_ASSIGN_OR_RETURN(read, ReadAt(fd, path, bytes, block.get(), kBlock));
    XXH3_128bits_update(state.get(), block.get(), read);
    bytes += read;
  }
  return FileChecksum{bytes, Hex(XXH3_128bits_digest(state.get()))};
}

absl::StatusOr<FileChecksum> ChecksumFile(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return FileError(errno, "cannot open", path);
  absl::Cleanup close_fd = [fd] { close(fd); };
  return ChecksumFile(fd, path);
}

}  // namespace photon
