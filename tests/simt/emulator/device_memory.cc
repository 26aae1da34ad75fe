#include "tests/simt/emulator/device_memory.h"

#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <map>
#include <mutex>
#include <string>

#include "tests/simt/emulator/block.h"
#include "tests/simt/emulator/failure.h"

namespace photon::simt {
namespace {

constexpr size_t kPage = 4096;
constexpr size_t kLargePage = 2 << 20;
constexpr size_t kRegion = size_t{1} << 38;  // addresses, not memory
constexpr int kMaxDevices = 16;

size_t RoundUp(size_t bytes, size_t unit) { return (bytes + unit - 1) / unit * unit; }

struct Allocation {
  size_t bytes;
  int device;
};

struct Memory {
  std::mutex mutex;
  char* region = nullptr;
  std::map<char*, Allocation> allocations;
  std::array<size_t, kMaxDevices> used = {};
  size_t per_device = size_t{8} << 30;
  int accesses = 0;

  Memory();
  char* FindGap(size_t bytes) const;
  void Protect(int protection) {
    for (const auto& [data, allocation] : allocations) mprotect(data, RoundUp(allocation.bytes, kPage), protection);
  }
};

Memory& TheMemory() {
  static Memory* const memory = new Memory;
  return *memory;
}

struct sigaction handler_before;

// The process ends here: what is not safe in a signal handler is done last, after the message itself is out.
void OnFault(int, siginfo_t* info, void*) {
  if (!IsDeviceAddress(info->si_addr) && RunningGrid() == nullptr) {
    sigaction(SIGSEGV, &handler_before, nullptr);
    return;  // the access faults again, before whoever was here first
  }
  char text[160];
  const int length =
      std::snprintf(text, sizeof(text), "emulated GPU: %s %p%s\n",
                    RunningGrid() == nullptr ? "host touched device memory at" : "kernel touched", info->si_addr,
                    RunningGrid() == nullptr ? "" : ", outside all allocations, or misaligned");
  (void)!write(STDERR_FILENO, text, length);
  ::signal(SIGSEGV, SIG_DFL);
  if (RunningGrid() != nullptr) Fail("fault in a kernel");
}

Memory::Memory() {
  region = static_cast<char*>(mmap(nullptr, kRegion, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
  if (region == MAP_FAILED) Fail("no address space for device memory");
  struct sigaction action = {};
  action.sa_sigaction = OnFault;
  action.sa_flags = SA_SIGINFO;
  sigaction(SIGSEGV, &action, &handler_before);
}

// The first one that leaves a page before and after.
char* Memory::FindGap(size_t bytes) const {
  const size_t alignment = bytes >= kLargePage ? kLargePage : kPage;
  const auto align = [&](char* p) { return region + RoundUp(p - region, alignment); };
  char* begin = align(region + kPage);
  for (const auto& [data, allocation] : allocations) {
    if (begin + bytes + kPage <= data) break;
    begin = align(data + RoundUp(allocation.bytes, kPage) + kPage);
  }
  return begin + bytes + kPage <= region + kRegion ? begin : nullptr;
}

}  // namespace

void* AllocateDeviceMemory(int device, size_t bytes) {
  Memory& memory = TheMemory();
  std::lock_guard lock(memory.mutex);
  if (memory.used[device] + bytes > memory.per_device) return nullptr;
  char* data = memory.FindGap(bytes);
  if (data == nullptr) return nullptr;
  const size_t pages = RoundUp(bytes, kPage);
  mprotect(data, pages, PROT_READ | PROT_WRITE);
  if (bytes >= kLargePage) madvise(data, pages, MADV_HUGEPAGE);
  std::memset(data, 0xff, bytes);
  if (memory.accesses == 0) mprotect(data, pages, PROT_NONE);
  memory.allocations[data] = {bytes, device};
  memory.used[device] += bytes;
  return data;
}

bool FreeDeviceMemory(void* data) {
  Memory& memory = TheMemory();
  std::lock_guard lock(memory.mutex);
  const auto it = memory.allocations.find(static_cast<char*>(data));
  if (it == memory.allocations.end()) return false;
  // A fresh mapping in its place gives the memory back and faults.
  mmap(data, RoundUp(it->second.bytes, kPage), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1,
       0);
  memory.used[it->second.device] -= it->second.bytes;
  memory.allocations.erase(it);
  return true;
}

void SetDeviceMemory(size_t bytes) {
  std::lock_guard lock(TheMemory().mutex);
  TheMemory().per_device = bytes;
}

size_t DeviceMemoryTotal() {
  std::lock_guard lock(TheMemory().mutex);
  return TheMemory().per_device;
}

size_t DeviceMemoryFree(int device) {
  std::lock_guard lock(TheMemory().mutex);
  const Memory& memory = TheMemory();
  return memory.per_device - std::min(memory.per_device, memory.used[device]);
}

bool IsDeviceAddress(const void* address) {
  const char* region = TheMemory().region;
  return address >= region && address < region + kRegion;
}

int DeviceHolding(const void* data, size_t bytes) {
  Memory& memory = TheMemory();
  std::lock_guard lock(memory.mutex);
  auto it = memory.allocations.upper_bound(static_cast<char*>(const_cast<void*>(data)));
  if (it == memory.allocations.begin()) return -1;
  --it;
  const char* end = it->first + it->second.bytes;
  return static_cast<const char*>(data) + bytes <= end ? it->second.device : -1;
}

DeviceAccess::DeviceAccess() {
  Memory& memory = TheMemory();
  std::lock_guard lock(memory.mutex);
  if (memory.accesses++ == 0) memory.Protect(PROT_READ | PROT_WRITE);
}

DeviceAccess::~DeviceAccess() {
  Memory& memory = TheMemory();
  std::lock_guard lock(memory.mutex);
  if (--memory.accesses == 0) memory.Protect(PROT_NONE);
}

}  // namespace photon::simt
