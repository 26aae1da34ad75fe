// How many OpenMP threads a rank computes with, and how they wait.
#pragma once

#include <string>

#include "launch/environment.h"

namespace photon {

// The machine's share of one rank: `cores` over the ranks on this machine, at least 1. Where the launcher already tied
// the rank to cores of its own, `cores` (what the process may run on) is that share.
int ThreadsForRank(int cores, const Environment& environment);

// Sets OpenMP's number of threads for this process, unless OMP_NUM_THREADS is set. Called once, at start-up, from the
// main thread.
void SetThreads();

// Makes OpenMP's threads wait for each other awake for some 0.1 ms only, then asleep, unless the user chose
// (GOMP_SPINCOUNT or OMP_WAIT_POLICY). By default they stay awake for milliseconds: on a machine with other work to do
// a training step then takes two to three times as long. libgomp reads the variable when it is loaded, so the program
// is started anew in the same process; returns where that is not needed, or not possible. First thing in main().
//
// Not possible: where the dynamic loader runs the program (`ld.so ./photon`), the process's own file is the loader, and
// under valgrind the new start would get away from it (it follows only with --trace-children=yes). Other tools that
// must see the program's one start do so with GOMP_SPINCOUNT or OMP_WAIT_POLICY set.
void BoundSpinning(char** argv);

// Whether a process of the file `program` can be started anew; see BoundSpinning.
bool CanStartAnew(const std::string& program, const Environment& environment);

}  // namespace photon
