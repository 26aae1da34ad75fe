#include "train/snapshot.h"

#include <sys/mman.h>

#include <cstring>
#include <fstream>
#include <string>

#include "absl/strings/str_cat.h"
#include "core/check.h"
#include "core/cpu/parallel_for.h"
#include "core/human.h"

namespace photon {
namespace {

constexpr int64_t kAlignment = 4096;
constexpr int64_t kBlock = 1 << 18;  // copied at once by one thread

int64_t Room(const TensorPart& part) {
  return (static_cast<int64_t>(part.value.bytes()) + kAlignment - 1) / kAlignment * kAlignment;
}

// What the machine can still give without swapping; -1 where it doesn't say.
int64_t AvailableBytes() {
  std::ifstream in("/proc/meminfo");
  for (std::string key, unit; in >> key;) {
    int64_t kilobytes = 0;
    if (key == "MemAvailable:" && in >> kilobytes) return kilobytes * 1024;
    std::getline(in, unit);
  }
  return -1;
}

}  // namespace

absl::Status Snapshot::Reserve(const std::vector<TensorPart>& parts) {
  Release();
  int64_t bytes = 0;
  for (const TensorPart& part : parts) bytes += Room(part);
  if (bytes == 0) return absl::OkStatus();
  const int64_t available = AvailableBytes();
  void* memory = available >= 0 && bytes > available
                     ? MAP_FAILED
                     : mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) {
    return absl::ResourceExhaustedError(absl::StrCat("a copy of the state needs ", HumanBytes(bytes),
                                                     " of memory, and ", HumanBytes(available), " are available"));
  }
  memory_ = static_cast<char*>(memory);
  bytes_ = bytes;
  madvise(memory_, bytes_, MADV_HUGEPAGE);
  cpu::ParallelFor(bytes_, kBlock, [&](int64_t begin, int64_t end) { memset(memory_ + begin, 0, end - begin); });
  return absl::OkStatus();
}

std::vector<TensorPart> Snapshot::Take(std::vector<TensorPart> parts) {
  char* to = memory_;
  for (TensorPart& part : parts) {
    PHOTON_CHECK(to + Room(part) <= memory_ + bytes_) << part.name << " was not reserved for";
    const char* from = static_cast<const char*>(part.value.raw());
    cpu::ParallelFor(static_cast<int64_t>(part.value.bytes()), kBlock,
                     [&](int64_t begin, int64_t end) { memcpy(to + begin, from + begin, end - begin); });
    part.value = Tensor::Wrap(to, part.value.shape(), part.value.dtype());
    to += Room(part);
  }
  return parts;
}

void Snapshot::Release() {
  if (memory_ != nullptr) munmap(memory_, bytes_);
  memory_ = nullptr;
  bytes_ = 0;
}

}  // namespace photon
