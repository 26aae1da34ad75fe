// In which order the ranks of a pipeline compute, found by going through time: whenever a rank is free it takes, of
// what can be computed, what comes first under a policy (list scheduling). Messages are not in the lists; schedule.cc
// adds them.
//
// Every segment takes its microbatches in ascending order, and the bound on those under way is kept for each segment by
// itself. So the oldest microbatch can always go on: no policy can hang. A pure function.
#pragma once

#include <vector>

#include "parallel/pipeline/schedule.h"

namespace photon::pipeline {

struct Policy {
  enum class First : uint8_t {
    kBackward,  // backward passes, then the oldest microbatch
    kOldest,    // the oldest microbatch, forward or backward
    kLongest,   // what has the longest way to go until its microbatch's last gradient
    kShortest,  // the cheapest: those on the way up, which others wait for
  };
  First first = First::kBackward;
  bool split = false;
  bool forward_first = false;  // no backward pass on a rank before its last forward pass
  int in_flight = 1;           // microbatches between the first segment's forward pass and its backward pass
  bool taper = false;          // fewer for later segments, by the length of the way that is left
  int waiting_weights = 1;     // so many weight gradients may wait on a rank
  double gap = 1;  // weight gradients start where the rank would be idle for at least this share of their cost
};

struct ListOrder {
  std::vector<std::vector<Instruction>> ranks;
  double time = 0;             // until the last rank is done
  std::vector<int64_t> peaks;  // [rank] bytes of activations; without messages that wait
};

ListOrder OrderByPolicy(const Layout& layout, int microbatches, const Network& network, const Policy& policy);

}  // namespace photon::pipeline
