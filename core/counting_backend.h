// A device's operations, counting what decoding must do: the weights that products read, the keys and values that
// attention reads, floating-point operations, and the time that these take at least on a device with given ceilings.
// Waits for the device in between: for counting, not for timing.
#pragma once

#include <cstdint>

#include "core/backend.h"

namespace photon {

// What a device can do at the most; measured (core/read_bandwidth.h, core/matrix_peak.h).
struct Ceilings {
  double bytes_per_s = 0, flops_per_s = 0;
};

struct Counts {
  int64_t weight_bytes = 0, cache_bytes = 0;
  double flops = 0;
  double seconds = 0;  // operation by operation the longer of reading and computing: the roofline

  int64_t bytes() const { return weight_bytes + cache_bytes; }
};
Counts operator-(const Counts& a, const Counts& b);

// One at a time; not thread-safe.
class CountingBackend {
 public:
  static Counts& counts();
  // `base` as the base of all that is counted from now on. Without ceilings no seconds are counted.
  static const Backend& Over(const Backend& base, const Ceilings& ceilings = {});
};

}  // namespace photon
