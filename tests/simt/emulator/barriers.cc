// PTX ISA, "Parallel synchronization and communication instructions: mbarrier", "bar".
#include "tests/simt/emulator/barriers.h"

#include <algorithm>
#include <bit>
#include <vector>

#include "absl/strings/str_format.h"
#include "tests/simt/emulator/block.h"
#include "tests/simt/emulator/device_memory.h"
#include "tests/simt/emulator/failure.h"

namespace photon::simt {
namespace {

// What the word of a barrier holds here; on a GPU, nobody may look.
struct Word {
  uint16_t magic;
  uint16_t count;
  uint16_t pending;
  uint16_t phase;
};
constexpr uint16_t kMagic = 0x6d62;

Word Read(const uint64_t* barrier, const char* operation) {
  if (IsDeviceAddress(barrier)) Fail(absl::StrFormat("%s: the barrier is not in shared memory", operation));
  const Word word = std::bit_cast<Word>(*barrier);
  if (word.magic != kMagic) Fail(absl::StrFormat("%s: nobody has initialised the barrier at %p", operation, barrier));
  return word;
}

struct Waiter {
  const uint64_t* barrier;
  int phase, thread;
};
thread_local std::vector<Waiter> waiters;

// That phase was the last to end.
bool Ended(const Word& word, int phase) { return word.phase != (phase & 1); }

struct Numbered {
  int expected = 0, arrived = 0;
  std::vector<int> waiting;
};
constexpr int kNumbered = 16;
thread_local Numbered numbered[kNumbered];

}  // namespace

void InitBarrier(uint64_t* barrier, int count) {
  if (IsDeviceAddress(barrier)) Fail("a barrier's word must lie in shared memory");
  if (count < 1 || count > 0xffff) Fail(absl::StrFormat("a barrier of %d threads", count));
  const auto n = static_cast<uint16_t>(count);
  *barrier = std::bit_cast<uint64_t>(Word{kMagic, n, n, 0});
}

void ArriveAt(uint64_t* barrier) {
  Word word = Read(barrier, "Arrive");
  if (--word.pending == 0) {
    word.pending = word.count;
    word.phase ^= 1;
  }
  *barrier = std::bit_cast<uint64_t>(word);
  std::erase_if(waiters, [&](const Waiter& w) {
    if (w.barrier != barrier || !Ended(word, w.phase)) return false;
    MakeReady(w.thread);
    return true;
  });
}

bool HasEnded(uint64_t* barrier, int phase) { return Ended(Read(barrier, "Ended"), phase); }

void WaitAt(uint64_t* barrier, int phase, const std::source_location& where) {
  if (Ended(Read(barrier, "Wait"), phase)) return;
  waiters.push_back({barrier, phase, ThreadInBlock()});
  Suspend("Wait", where);
}

void MeetAt(int id, int threads, bool wait, const std::source_location& where) {
  const char* const operation = wait ? "Meet" : "Announce";
  if (id < 1 || id >= kNumbered) Fail(absl::StrFormat("%s: barrier %d of 1 to %d", operation, id, kNumbered - 1));
  if (threads < 1 || threads % kWarpLanes != 0)
    Fail(absl::StrFormat("%s: %d threads are no whole warps", operation, threads));
  Numbered& barrier = numbered[id];
  if (barrier.arrived == 0) barrier.expected = threads;
  if (barrier.expected != threads) {
    Fail(absl::StrFormat("barrier %d: threads come to a meeting of %d and of %d", id, barrier.expected, threads));
  }
  ++barrier.arrived;
  if (wait) barrier.waiting.push_back(ThreadInBlock());
  if (barrier.arrived == barrier.expected) {
    for (const int thread : barrier.waiting) MakeReady(thread);
    barrier = {};
  }
  if (wait) Suspend(operation, where);
}

void BeginBarriers() {
  waiters.clear();
  std::fill(std::begin(numbered), std::end(numbered), Numbered{});
}

void CheckBarriers() {
  for (int id = 1; id < kNumbered; ++id) {
    if (numbered[id].arrived == 0) continue;
    Fail(absl::StrFormat("barrier %d: the block ended when %d of %d threads had come", id, numbered[id].arrived,
                         numbered[id].expected));
  }
}

}  // namespace photon::simt
