#include "tests/simt/emulator/shared_memory.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <mutex>

#include "absl/strings/str_format.h"
#include "tests/simt/emulator/failure.h"

namespace photon::simt {
namespace {

constexpr size_t kPage = 4096;
constexpr size_t kRegion = kSharedWindow;
constexpr unsigned char kPoison = 0xff, kCanary = 0xa5;

size_t RoundUp(size_t bytes, size_t unit) { return (bytes + unit - 1) / unit * unit; }

// This thread's region: a page that faults, kRegion bytes, a page that faults. Kept for the program's life.
unsigned char* RegionEnd() {
  thread_local unsigned char* const end = [] {
    auto* pages =
        static_cast<unsigned char*>(mmap(nullptr, kRegion + 2 * kPage, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    mprotect(pages + kPage, kRegion, PROT_READ | PROT_WRITE);
    return pages + kPage + kRegion;
  }();
  return end;
}

thread_local size_t dynamic_bytes = 0;

unsigned char* Begin() { return RegionEnd() - RoundUp(dynamic_bytes, kSharedAlignment); }

const std::vector<StaticShared>& VariablesOf(const void* kernel) {
  static std::mutex mutex;
  static std::map<const void*, std::vector<StaticShared>> known;
  std::lock_guard lock(mutex);
  const auto it = known.find(kernel);
  return it != known.end() ? it->second : known[kernel] = StaticSharedOf(kernel);
}

}  // namespace

SharedMemory::SharedMemory(const Grid& grid) : variables_(VariablesOf(grid.kernel)) {
  dynamic_bytes = grid.dynamic_shared;
}

void SharedMemory::BeginBlock() {
  unsigned char* begin = Begin();
  std::memset(begin - kSharedAlignment, kCanary, kSharedAlignment);
  std::memset(begin, kPoison, dynamic_bytes);
  std::memset(begin + dynamic_bytes, kCanary, RegionEnd() - begin - dynamic_bytes);
  for (const StaticShared& variable : variables_) {
    std::memset(ThreadLocalMemory() + variable.offset, kPoison, variable.bytes);
  }
}

void SharedMemory::CheckBounds() const {
  const auto is_canary = [](unsigned char c) { return c == kCanary; };
  const unsigned char* begin = Begin();
  if (!std::all_of(begin - kSharedAlignment, begin, is_canary)) {
    Fail("the block wrote before its dynamic shared memory");
  }
  if (!std::all_of(begin + dynamic_bytes, static_cast<const unsigned char*>(RegionEnd()), is_canary)) {
    Fail("the block wrote past its dynamic shared memory");
  }
}

void* DynamicSharedMemory() { return Begin(); }

bool IsDynamicShared(const void* address) { return address >= Begin() && address < RegionEnd(); }

uint32_t SharedAddress(const void* shared) {
  if (!IsDynamicShared(shared)) Fail(absl::StrFormat("%p is not the block's dynamic shared memory", shared));
  return static_cast<uint32_t>(static_cast<const unsigned char*>(shared) - (RegionEnd() - kRegion));
}

const void* SharedAt(uint32_t address, size_t bytes) {
  const unsigned char* const shared = RegionEnd() - kRegion + address;
  if (shared < Begin() || shared + bytes > Begin() + dynamic_bytes) {
    Fail(absl::StrFormat("%d bytes at shared address %d are not the block's", bytes, address));
  }
  return shared;
}

size_t StaticSharedBytes(const void* kernel) {
  size_t bytes = 0;
  for (const StaticShared& variable : VariablesOf(kernel)) bytes += variable.bytes;
  return bytes;
}

}  // namespace photon::simt
