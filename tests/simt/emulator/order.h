// In which order the emulated GPU does what a GPU may do in any: for tests that look for missing barriers and waits.
#pragma once

#include <cstdint>

namespace photon::simt {

// Of the threads of a block that can go on: the first, the last, or any one. A warp runs as far ahead of the others as
// it can (kFirst: warp 0; kLast: the last warp).
struct ThreadOrder {
  enum Kind { kFirst, kLast, kRandom } kind = kFirst;
  uint64_t seed = 0;  // of kRandom
};
// Of the launches that this thread of the host runs from now on.
void SetThreadOrder(ThreadOrder order);

// Queued work runs when the host waits for it and no earlier (a program that forgets to wait, or reuses what a copy
// still has to read, sees it), or when it is queued.
enum class Queueing { kLate, kAtOnce };
void SetQueueing(Queueing queueing);  // of the whole program; kLate at first

}  // namespace photon::simt
