// Timing for benchmarks.
#pragma once

#include <algorithm>
#include <vector>

#include "core/context.h"
#include "core/time.h"

namespace photon {

// The seconds that one run takes.
template <typename F>
double Seconds(F&& run) {
  const double start = Now();
  run();
  return Now() - start;
}

// The seconds of the fastest of at least three runs, repeated until `budget` seconds are spent.
template <typename F>
double BestSeconds(double budget, F&& run) {
  double best = 1e30;
  const double start = Now();
  for (int i = 0; i < 3 || Now() - start < budget; ++i) best = std::min(best, Seconds(run));
  return best;
}

// The seconds of one run on the context's device: of several that are queued together, so that what a launch and a wait
// cost is shared; the best of some.
template <typename F>
double QueuedSeconds(const Context& context, double budget, F&& run) {
  const auto queued = [&](int count) {
    return Seconds([&] {
      for (int i = 0; i < count; ++i) run();
      context.Synchronize();
    });
  };
  queued(1);
  const int count = static_cast<int>(std::clamp(0.02 / queued(1), 1.0, 100.0));
  double best = 1e30;
  const double start = Now();
  for (int i = 0; i < 3 || Now() - start < budget; ++i) best = std::min(best, queued(count) / count);
  return best;
}

// The middle of some figures (of an even number, the upper one); 0 of none.
inline double Median(std::vector<double> values) {
  if (values.empty()) return 0;
  std::nth_element(values.begin(), values.begin() + values.size() / 2, values.end());
  return values[values.size() / 2];
}

}  // namespace photon
