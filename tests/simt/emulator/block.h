// One launch: its blocks one after another, the threads of a block as fibers of the host's thread that launches.
//
// A thread runs until it has to wait for others: at a barrier of its block or a collective of its warp. Which thread
// goes on then is chosen by ThreadOrder (order.h), so that a missing barrier shows as another result in another order.
// Threads that wait for what can't come end the program, with the list of who waits where.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <source_location>

#include "tests/simt/emulator/language.h"
#include "tests/simt/emulator/order.h"

namespace photon::simt {

struct Grid {
  dim3 blocks, threads;
  size_t dynamic_shared = 0;  // bytes
  const void* kernel = nullptr;
};
// Calls `thread` once for each thread of the grid.
void Run(const Grid& grid, const std::function<void()>& thread);
// Null outside Run().
const Grid* RunningGrid();

inline constexpr int kWarpLanes = 32;
int ThreadInBlock();  // its number; lane number % 32 of warp number / 32

struct Barrier {
  int threads = 0;    // that came
  int predicate = 0;  // how many of them said yes
};
// Waits for all threads of the block. All come from the same line, and none may have ended.
Barrier BlockBarrier(bool predicate, const std::source_location& where);

// For barriers of other kinds (barriers.h): this thread waits, in `operation`, until another one makes it ready.
void Suspend(const char* operation, const std::source_location& where);
void MakeReady(int thread);

// Waits for the lanes of `mask` in this warp, all of which call the same `operation`; lanes that have ended count as
// there. The last one calls `combine` with everybody's operand, null for lanes that take no part.
using Combine = void(void* const (&lanes)[kWarpLanes]);
void WarpRendezvous(unsigned mask, const char* operation, void* operand, Combine* combine,
                    const std::source_location& where);

}  // namespace photon::simt
