// All ranks' traces played against each other, in simulated time.
//
// A collective ends for all members when the last has come to it and the bytes have moved; a sent message waits for its
// receiver, a posted one does not. Finds what would go wrong in the run: members of a group that make different calls,
// messages that differ from what is received, ranks that wait for each other for ever. A pure function; any thread.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "parallel/dry/trace.h"

namespace photon::dry {

// One rank, or the second thread of one. Traces of ranks that do the same are one object.
struct Played {
  int rank = 0;
  int thread = 0;  // 1: the rank's background thread, whose groups are twins of the first one's
  std::shared_ptr<const Trace> trace;
  std::vector<const std::vector<int>*> groups;  // members, by TracedCall::group
};

struct RankTime {
  double finished = 0;                // seconds
  double computing = 0;               // of them
  std::vector<double> communicating;  // by TracedCall::group: moving bytes
  std::vector<double> waiting;        // by TracedCall::group: for other ranks
};

// Seconds that a call takes once all who take part have come to it. `members`: ranks of the job.
using CallTime = std::function<double(const TracedCall& call, const std::vector<int>& members)>;

// Ranks that are not among the played ones are taken to come to every collective with those that are, and must exchange
// no messages with them: replicas that differ in their data alone need not be played.
//
// kInternal, naming ranks, numbers of calls and tensors, at the first fault.
absl::StatusOr<std::vector<RankTime>> Replay(const std::vector<Played>& ranks, const Descriptions& descriptions,
                                             const CallTime& seconds);

}  // namespace photon::dry
