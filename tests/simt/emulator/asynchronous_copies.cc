#include "tests/simt/emulator/asynchronous_copies.h"

#include <cstdint>
#include <cstring>
#include <deque>
#include <vector>

#include "absl/strings/str_format.h"
#include "tests/simt/emulator/block.h"
#include "tests/simt/emulator/device_memory.h"
#include "tests/simt/emulator/failure.h"
#include "tests/simt/emulator/warpgroup_products.h"

namespace photon::simt {
namespace {

struct Copy {
  void* shared;
  const void* global;
  int bytes;
  bool valid;
};

struct Queue {
  std::vector<Copy> open;
  std::deque<std::vector<Copy>> groups;
};

thread_local std::vector<Queue> queues;

}  // namespace

void BeginCopies(int threads) { queues.assign(threads, {}); }

void QueueCopy(void* shared, const void* global, int bytes, bool valid) {
  if (reinterpret_cast<uintptr_t>(shared) % bytes != 0 || reinterpret_cast<uintptr_t>(global) % bytes != 0) {
    Fail(absl::StrFormat("copy of %d bytes from %p to shared %p: an address is no multiple of %d", bytes, global,
                         shared, bytes));
  }
  if (IsDeviceAddress(shared)) Fail(absl::StrFormat("copy to %p, which is not shared memory", shared));
  if (valid && !IsDeviceAddress(global)) Fail(absl::StrFormat("copy from %p, which is not global memory", global));
  std::memset(shared, 0xff, bytes);
  queues[ThreadInBlock()].open.push_back({shared, global, bytes, valid});
}

void CommitCopies() {
  Queue& queue = queues[ThreadInBlock()];
  queue.groups.push_back(std::move(queue.open));
  queue.open.clear();
}

void WaitForCopies(int pending) {
  std::deque<std::vector<Copy>>& groups = queues[ThreadInBlock()].groups;
  while (static_cast<int>(groups.size()) > pending) {
    for (const Copy& copy : groups.front()) {
      if (copy.valid) {
        std::memcpy(copy.shared, copy.global, copy.bytes);
      } else {
        std::memset(copy.shared, 0, copy.bytes);
      }
      CopyArrived(copy.shared, copy.bytes);
    }
    groups.pop_front();
  }
}

void DropCopies(int thread) { queues[thread] = {}; }

}  // namespace photon::simt
