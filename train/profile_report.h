// What a profiler gathered over some steps, for people (a table), for programs (JSON) and as a picture (a trace that
// Perfetto and chrome://tracing open).
//
// Scopes are shown by the names of the model's modules, the layers of a stack added up. What no scope covers is a row
// of its own, so that the rows add up to the steps' time.
#pragma once

#include <cstdint>
#include <string>

#include "core/profiler.h"

namespace photon {

struct ProfiledSteps {
  int64_t steps = 0;
  double seconds = 0;       // of all of them
  int64_t arena_grown = 0;  // times that memory was asked of the system in them
};

// Milliseconds a step and shares of it: forward, backward, both.
std::string ProfileTable(const Profiler& profiler, const ProfiledSteps& profiled);
// {"steps", "step_s", "rows": [{"scope": "level.1.decoder/ffn.down_proj", "forward_s", "backward_s"}], "bytes": {..},
// "arena_grown"}: per step, seconds of a row not counting the rows below it.
std::string ProfileJson(const Profiler& profiler, const ProfiledSteps& profiled);
// Chrome's trace event format. `rank` is the process of the trace.
std::string TraceJson(const Profiler& profiler, int rank);

}  // namespace photon
