// How many OpenMP threads a rank computes with.
#pragma once

#include "launch/environment.h"

namespace photon {

// The machine's share of one rank: `cores` over the ranks on this machine, at least 1. Where the launcher already tied
// the rank to cores of its own, `cores` (what the process may run on) is that share.
int ThreadsForRank(int cores, const Environment& environment);

// Sets OpenMP's number of threads for this process, unless OMP_NUM_THREADS is set. Called once, at start-up, from the
// main thread.
void SetThreads();

}  // namespace photon
