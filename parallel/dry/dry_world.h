// Ranks of a job that run one after the other, or side by side, in one process, without ever waiting for each other:
// every call returns at once and is written down. What was written down is compared afterwards (parallel/dry/replay.h).
//
// A collective leaves tensors as they are: after a sum every rank has its own part of it. Programs under dry run must
// not let what they receive decide what they call.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "parallel/communicator.h"
#include "parallel/dry/trace.h"

namespace photon::dry {

// Who belongs to which group: made once, then only read.
class DryWorld {
 public:
  // `setup` is what every rank does with its communicator of all ranks before its program begins: it makes groups
  // (Mesh::Create). It is run for every rank to learn who asks for which; which groups it asks for of all ranks may not
  // depend on the sizes of those that it got before.
  static absl::StatusOr<std::unique_ptr<DryWorld>> Create(int ranks,
                                                          const std::function<absl::Status(Communicator&)>& setup);

  int ranks() const { return ranks_; }
  // Members of the group that `rank` gets from its split number `split`, ordered as in the group. [0]: all ranks.
  const std::vector<int>& members(int split, int rank) const;
  Descriptions& descriptions() { return descriptions_; }

 private:
  friend class SplitProbe;
  struct Request {
    int color, key;
  };

  explicit DryWorld(int ranks) : ranks_(ranks), requests_(ranks) {}
  void MakeGroups();

  int ranks_;
  std::vector<std::vector<Request>> requests_;  // [rank][split]
  std::vector<std::vector<int>> group_of_;      // [split][rank]: into groups_
  std::vector<std::vector<int>> groups_;
  Descriptions descriptions_;
};

// What one rank writes down. One thread at a time; a group made by ForBackground() writes into a trace of its own, from
// another thread.
class Recorder {
 public:
  Recorder(DryWorld& world, int rank) : world_(world), rank_(rank) {}

  // The communicator of all ranks, for this rank. The recorder outlives it.
  std::unique_ptr<Communicator> World();
  // Adds computing.
  void Compute(double seconds) { pending_ += seconds; }

  // What has been written down, and an empty page; groups stay known.
  Trace Take();
  Trace TakeBackground();
  // Members of the rank's groups, numbered as in TracedTracedCall::group.
  const std::vector<const std::vector<int>*>& groups() const { return groups_; }
  int rank() const { return rank_; }

 private:
  friend class DryCommunicator;
  void Write(TracedCall call, bool background);

  DryWorld& world_;
  int rank_;
  double pending_ = 0;
  Trace trace_, background_;
  std::vector<const std::vector<int>*> groups_;
};

}  // namespace photon::dry
