// A pipeline's schedule: for each rank, the list of what it does in a step, in order.
//
// Plain data, made by pure functions, so that it can be checked (check.h), timed (simulate.h), drawn (draw.h) and
// tested without being run; one loop runs it (executor.h). Reducing gradients and the update are not in it: they come
// after, and are the trainer's.
//
// Sends wait for nobody (Communicator::Post), receives do. The messages of an edge between two ranks are told apart by
// their order: both ends go through its microbatches in the same one.
#pragma once

#include <limits>
#include <string>
#include <vector>

#include "parallel/pipeline/layout.h"

namespace photon::pipeline {

enum class Task : uint8_t {
  kForward,
  kBackward,  // of input gradients, and, in a schedule that doesn't split, of weight gradients too
  kWeights,   // weight gradients
  kSend,
  kReceive,
};

struct Instruction {
  Task task = Task::kForward;
  int microbatch = 0;
  int segment = 0;        // what is computed; of a message, the edge's producer
  int edge = -1;          // of a message
  bool gradient = false;  // the message goes back
  int peer = -1;          // the other rank of a message
  bool computes() const { return task < Task::kSend; }
  friend bool operator==(const Instruction&, const Instruction&) = default;
};

enum class Order : uint8_t { kGpipe, kOneFOneB, kSplit };
Order OrderOf(PipelineConfig::Schedule schedule);
const char* Name(Order order);

struct Schedule {
  int microbatches = 0;
  bool split = false;                                // weight gradients are instructions of their own
  std::vector<std::vector<Instruction>> ranks = {};  // [rank]
};

// Of messages between ranks; in the units of the items' costs.
struct Network {
  double latency = 0;
  double bytes_per_unit = std::numeric_limits<double>::infinity();
  double Seconds(int64_t bytes) const { return latency + static_cast<double>(bytes) / bytes_per_unit; }
};

struct ScheduleOptions {
  Order order = Order::kSplit;
  int microbatches = 1;
  Network network = {};
  // Bytes of a rank's activations and of the messages that wait to be read (check.h counts them).
  int64_t memory_limit = std::numeric_limits<int64_t>::max();
  double slack = 0;  // share of the shortest time that may be given up for a lower peak of memory
};

// GPIPE: all forward passes of a rank, then all backward passes. The others run a backward pass as soon as there is
// one, and bound how many microbatches are under way:
//   ONE_F_ONE_B  as 1F1B does on a plain pipeline; on a folded one the same rule over the whole way up and down.
//   SPLIT        weight gradients apart from input gradients, in gaps and at the end.
// Several bounds and priorities are tried, and the simulator's fastest that keeps the memory limit is taken (of those
// within `slack` of it that with the lowest peak). Each also tries the lists of those before it, so is not slower. A
// pure function: every rank makes the same schedule by itself. kInvalidArgument where none keeps the limit, with the
// least that one needs.
absl::StatusOr<Schedule> MakeSchedule(const Layout& layout, const ScheduleOptions& options);

// The forward passes of a schedule, and their messages: values without gradients (validation).
Schedule ForwardOnly(Schedule schedule);

// A number that two schedules share where they are the same: ranks compare theirs before the first step (costs that
// were measured on each rank, or machines that round differently, would part them, and a rank would wait for ever).
uint64_t Digest(const Schedule& schedule);

// "F2 of microbatch 3", "send stream after E1 3 of microbatch 0 to rank 1".
std::string Describe(const Layout& layout, const Instruction& instruction);

}  // namespace photon::pipeline
