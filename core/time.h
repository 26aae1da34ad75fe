// The clock for measuring how long things take.
#pragma once

#include <chrono>

namespace photon {

// Seconds of a clock that never jumps; only differences mean something.
inline double Now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace photon
