#include "train/snapshot.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <string>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "core/check.h"
#include "core/checksum.h"
#include "core/cpu/parallel_for.h"
#include "core/human.h"

namespace photon {
namespace {

constexpr int64_t kAlignment = 4096;
constexpr int64_t kBlock = 1 << 18;  // copied at once by one thread

int64_t Room(const TensorPart& part) {
  return (static_cast<int64_t>(part.value.bytes()) + kAlignment - 1) / kAlignment * kAlignment;
}

// The same on the ranks that share a memory, by the host's name and what the kernel drew when it started: containers on
// one machine count apart, each with the limit on it.
int64_t ThisMachine() {
  char host[256] = {};
  (void)gethostname(host, sizeof(host) - 1);
  std::string boot;
  std::ifstream("/proc/sys/kernel/random/boot_id") >> boot;
  uint64_t number = 0;
  PHOTON_CHECK(absl::SimpleHexAtoi(Checksum(absl::StrCat(host, "/", boot)).substr(0, 16), &number));
  return static_cast<int64_t>(number);
}

// Agreed on before any rank takes a byte: each alone may well find room for itself.
absl::Status CheckRoomForAll(Communicator& world, int64_t bytes, int64_t available) {
  int64_t mine[] = {ThisMachine(), bytes};
  std::vector<int64_t> all(2 * world.size());
  PHOTON_RETURN_IF_ERROR(world.AllGather("memory of the copy", Tensor::Wrap(mine, Shape{2}, DType::kI64),
                                         Tensor::Wrap(all.data(), Shape{2 * world.size()}, DType::kI64)));
  int64_t needed = 0, ranks = 0;
  for (int r = 0; r < world.size(); ++r) {
    if (all[2 * r] == mine[0]) needed += all[2 * r + 1], ++ranks;
  }
  absl::Status room;
  if (available >= 0 && needed > available) {
    room = absl::ResourceExhaustedError(absl::StrCat("a copy of the state needs ", HumanBytes(needed),
                                                     " of memory for the ranks of a machine (", ranks, "), and ",
                                                     HumanBytes(available), " are available"));
  }
  return AgreeOn(world, "memory of the copy", room);
}

}  // namespace

absl::Status Snapshot::Reserve(const std::vector<TensorPart>& parts, Communicator& world, int64_t available) {
  Release();
  int64_t bytes = 0;
  for (const TensorPart& part : parts) bytes += Room(part);
  PHOTON_RETURN_IF_ERROR(CheckRoomForAll(world, bytes, available));
  absl::Status taken;
  if (bytes > 0) {
    void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory != MAP_FAILED) {
      memory_ = static_cast<char*>(memory);
      bytes_ = bytes;
    } else {  // a limit on addresses (ulimit -v), say
      taken = absl::ResourceExhaustedError(
          absl::StrCat("a copy of the state needs ", HumanBytes(bytes), " of memory: ", std::strerror(errno)));
    }
  }
  if (const absl::Status all = AgreeOn(world, "memory of the copy", taken); !all.ok()) {
    Release();
    return all;
  }
  if (bytes_ == 0) return absl::OkStatus();
  madvise(memory_, bytes_, MADV_HUGEPAGE);
  cpu::ParallelFor(bytes_, kBlock, [&](int64_t begin, int64_t end) { memset(memory_ + begin, 0, end - begin); });
  return absl::OkStatus();
}

std::vector<TensorPart> Snapshot::Take(const Context& context, std::vector<TensorPart> parts) {
  char* to = memory_;
  for (TensorPart& part : parts) {
    PHOTON_CHECK(to + Room(part) <= memory_ + bytes_) << part.name << " was not reserved for";
    if (part.value.device().type == DeviceType::kCpu) {
      const char* from = static_cast<const char*>(part.value.raw());
      cpu::ParallelFor(static_cast<int64_t>(part.value.bytes()), kBlock,
                       [&](int64_t begin, int64_t end) { memcpy(to + begin, from + begin, end - begin); });
    } else {
      context.ToHost(part.value, to);
    }
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
