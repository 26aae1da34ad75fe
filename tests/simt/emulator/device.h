// What the emulated devices are like.
#pragma once

#include "tests/simt/emulator/runtime_types.h"

namespace photon::simt {

// Few, and no power of two: kernels that share work among multiprocessors get uneven shares of several waves.
inline constexpr int kMultiprocessors = 3;
inline constexpr int kThreadsPerMultiprocessor = 2048;
inline constexpr int kThreadsPerBlock = 1024;
inline constexpr int kBlocksPerMultiprocessor = 32;
inline constexpr size_t kSharedPerMultiprocessor = 228 << 10;
inline constexpr size_t kSharedReserved = 1 << 10;  // of every block's, by the system

// How many devices there are: 1, unless a test wants more (up to 16).
void SetDeviceCount(int count);

}  // namespace photon::simt
