// What the program's exit code means: 0 done, 1 a bug of ours, 2 bad input, 3 training stopped itself, 4 the device
// or the network can't be used (kUnavailable: also a rank that is gone).
#pragma once

#include "absl/status/status.h"

namespace photon {

inline constexpr int kExitDone = 0;
inline constexpr int kExitBug = 1;
inline constexpr int kExitBadInput = 2;
inline constexpr int kExitStopped = 3;
inline constexpr int kExitDevice = 4;

int ExitCode(const absl::Status& status);

}  // namespace photon
