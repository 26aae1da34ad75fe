// Timing for benchmarks.
#pragma once

#include <algorithm>
#include <chrono>

namespace photon {

// The seconds of the fastest of at least three runs, repeated until `budget` seconds are spent.
template <typename F>
double BestSeconds(double budget, F&& run) {
  using Clock = std::chrono::steady_clock;
  double best = 1e30;
  const Clock::time_point start = Clock::now();
  Clock::time_point now = start;
  for (int i = 0; i < 3 || std::chrono::duration<double>(now - start).count() < budget; ++i) {
    const Clock::time_point before = Clock::now();
    run();
    now = Clock::now();
    best = std::min(best, std::chrono::duration<double>(now - before).count());
  }
  return best;
}

}  // namespace photon
