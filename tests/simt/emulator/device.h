// What the emulated devices are like.
#pragma once

#include <string>
#include <vector>

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
// The driver's CUDA, as 13000 of 13.0 (0: none), and the compute capability of all devices: of this program's CUDA
// and 9.0, unless a test wants others. They change what is said, not what is emulated.
void SetDriverVersion(int version);
void SetCapability(int major, int minor);

// Names of the kernels that were launched since the last call, each once.
std::vector<std::string> TakeLaunches();

}  // namespace photon::simt
