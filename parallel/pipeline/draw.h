// Pictures of a schedule: ranks from top to bottom, time from left to right.
//
// Of a simulated timeline (simulate.h) or a measured one (executor.h): any Spans do.
#pragma once

#include <string>

#include "parallel/pipeline/simulate.h"

namespace photon::pipeline {

struct DrawOptions {
  std::string title;  // ours is added: form, ranks, microbatches, time, efficiency
  std::string unit;   // of time, "s"; may be empty
  int width = 1400;   // pixels
};

// A file that browsers show: forward passes blue, input gradients (or whole backward passes) orange, weight gradients
// green; slices of the way up in pale, of the way down in full colours, with the microbatch's number where there is
// room. Idle time stays white, and a receive that waits is a thin line. A rank's segments stand beside it. Pointing at
// a box tells what it is, and when.
std::string DrawSvg(const Layout& layout, const Timeline& timeline, const DrawOptions& options);

// For terminals: a line a rank and `columns` characters of time. A forward pass shows its microbatch's last digit on
// the way down and "f" on the way up; "B", "b": input gradients; "W", "w": weight gradients; ".": idle.
std::string DrawText(const Layout& layout, const Timeline& timeline, int columns);

}  // namespace photon::pipeline
