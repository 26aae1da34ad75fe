#include "launch/other_work.h"

#include <cstdlib>
#include <iostream>

#include "absl/strings/str_format.h"

namespace photon {

// Threads of a step wait for the one whose core is taken, again and again: steps of microseconds slow down tenfold, and
// those of milliseconds hardly, so that not even ratios hold.
void WarnOfOtherWork() {
  constexpr double kMuch = 0.5;  // cores, over the last minute
  double load = 0;
  if (getloadavg(&load, 1) != 1 || load < kMuch) return;
  std::cerr << absl::StrFormat(
      "warning: other programs kept %.1f of this machine's cores busy over the last minute: small steps may go ten "
      "times slower, others not, so that not even ratios are right. Measure on a quiet machine; with "
      "--threads 1 the harm is least\n",
      load);
}

}  // namespace photon
