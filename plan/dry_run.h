// A step of a run, without the machines: the real Trainer of every rank, on devices and in groups that do nothing.
//
// Shapes are checked by the operations themselves, collectives by playing all ranks' calls against each other. Memory
// is what the real program asks for, so exact; time is as good as the figures that operations and links are given.
#pragma once

#include <map>
#include <vector>

#include "configs/run.pb.h"
#include "core/dry/operation_time.h"
#include "core/placement.h"
#include "core/status.h"
#include "parallel/dry/replay.h"

namespace photon {

// Bytes of one rank, as its arena counts them.
struct MemoryUse {
  int64_t masters = 0, gradients = 0, copies = 0, moments = 0;
  int64_t tables = 0;       // index tensors, rotary angles, alignment and other things that stay
  int64_t activations = 0;  // and what operations work in: the peak over all of these
  int64_t peak() const { return masters + gradients + copies + moments + tables + activations; }
};

// Of the groups of one set of axes.
struct AxisUse {
  int64_t bytes_sent = 0;    // of one rank and step, as communicators count them
  double communicating = 0;  // seconds of moving bytes
  double waiting = 0;        // seconds until the others came
};

struct RankUse {
  int rank = 0;
  MeshCoordinates at;
  MemoryUse memory;
  int64_t parameters = 0;  // elements that it holds
  double flops = 0;        // of products and attention in a step, as operations count them
  double computing = 0;    // seconds
  double step = 0;         // seconds until it is done
  std::map<AxisSet, AxisUse> axes;
};

struct DryRun {
  std::vector<RankUse> ranks;  // those that were built
  double step_s = 0;           // seconds of the slowest
  int64_t calls = 0;           // of all ranks to each other, matched
};

struct DryRunOptions {
  dry::OperationTime* time = nullptr;  // null: operations take no time
  dry::CallTime links = {};            // empty: neither do calls
  size_t memory = 0;                   // bytes of a device
  int threads = 1;                     // that build ranks side by side
  bool one_replica = false;            // only the ranks of the first data-parallel replica
  int only = -1;                       // only this rank: its calls are played against nobody's
  // Of more than a few microbatches only as many are run as fill a pipeline twice, and half of them: what the others
  // add in time, memory and bytes is that difference over and over.
  bool extrapolate = false;
};

// `config` resolved and valid for `ranks`. kInternal, naming ranks, calls and tensors, where ranks would not work
// together.
absl::StatusOr<DryRun> RunDry(const RunConfig& config, int ranks, const DryRunOptions& options);

}  // namespace photon
