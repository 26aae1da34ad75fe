// How long a schedule takes, predicted: each rank works through its list, an instruction takes what its segment costs,
// and a message arrives when the link between its ranks has carried it. Deterministic; a pure function.
#pragma once

#include <vector>

#include "parallel/pipeline/schedule.h"

namespace photon::pipeline {

// When something was computed, or waited for.
struct Span {
  Instruction instruction;
  double begin = 0, end = 0;
};

struct Timeline {
  std::vector<std::vector<Span>> ranks;  // in order of time; what computes and receives that wait
  double time = 0;                       // until the last rank is done
  double work = 0;                       // of all ranks together
  // Useful work / (ranks x time).
  double efficiency() const { return time > 0 ? work / (static_cast<double>(ranks.size()) * time) : 1; }
};

// `schedule` has passed CheckSchedule. Messages from one rank to another go one after the other.
Timeline Simulate(const Layout& layout, const Schedule& schedule, const Network& network = {});

// What one instruction computes costs.
double CostOf(const Layout& layout, const Instruction& instruction, bool split);

}  // namespace photon::pipeline
