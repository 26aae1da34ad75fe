// Barriers that a kernel names: words in shared memory that count arrivals (mbarrier), and the block's numbered ones
// (bar.sync, bar.arrive). A thread that waits for one goes on when the others have come; where they never come, the
// program ends (block.h).
#pragma once

#include <cstdint>
#include <source_location>

namespace photon::simt {

// mbarrier.init, .arrive and .try_wait.parity: once, and until it says yes.
void InitBarrier(uint64_t* barrier, int count);
void ArriveAt(uint64_t* barrier);
bool HasEnded(uint64_t* barrier, int phase);
void WaitAt(uint64_t* barrier, int phase, const std::source_location& where);

// bar.sync, or with !wait bar.arrive, of `threads` in all.
void MeetAt(int id, int threads, bool wait, const std::source_location& where);

// Of one block. The second fails where somebody announced himself to threads that never came.
void BeginBarriers();
void CheckBarriers();

}  // namespace photon::simt
