// Work shared among the CPU's threads.
//
// OpenMP, because oneDNN uses it too: one pool of threads for both, so that neither's idle threads spin against the
// other's busy ones. The number of threads is OMP_NUM_THREADS, which the launcher sets per rank.
#pragma once

#include <omp.h>

#include <algorithm>
#include <cstdint>

namespace photon::cpu {

// The grain for rows of `width` elements that are passed over once: below some 16,000 elements (about 10 us) waking a
// second thread costs more than it brings.
inline int64_t RowGrain(int64_t width) { return std::max<int64_t>(1, 16384 / std::max<int64_t>(width, 1)); }

// Calls f(begin, end) on ranges that cover [0, n), one range a thread, none smaller than `grain` (but the last). Ranges
// depend on n, grain and the number of threads alone.
template <typename F>
void ParallelFor(int64_t n, int64_t grain, F&& f) {
  const int64_t threads = std::min<int64_t>(omp_get_max_threads(), n / std::max<int64_t>(grain, 1));
  if (threads <= 1) {
    if (n > 0) f(int64_t{0}, n);
    return;
  }
#pragma omp parallel num_threads(threads)
  {
    // The team may be smaller than asked for: inside another parallel region it is one thread.
    const int64_t team = omp_get_num_threads();
    const int64_t t = omp_get_thread_num();
    f(n * t / team, n * (t + 1) / team);
  }
}

}  // namespace photon::cpu
