#include "parallel/pipeline/schedule.h"

#include <algorithm>
#include <numeric>
#include <set>
#include <tuple>

#include "absl/strings/str_cat.h"
#include "core/check.h"
#include "core/random.h"
#include "parallel/pipeline/check.h"
#include "parallel/pipeline/list_order.h"

namespace photon::pipeline {
namespace {

// Bounds that are tried: the small ones, then ever fewer up to all microbatches.
std::vector<int> Bounds(int microbatches) {
  std::vector<int> bounds;
  for (int k = 1; k < microbatches; k += std::max(1, k / 4)) bounds.push_back(k);
  bounds.push_back(microbatches);
  return bounds;
}

void AddPolicies(const Layout& layout, int microbatches, bool split, std::vector<Policy>& policies) {
  constexpr Policy::First kFirst[] = {Policy::First::kBackward, Policy::First::kOldest, Policy::First::kLongest,
                                      Policy::First::kShortest};
  const int ranks = layout.ranks();
  for (const int bound : Bounds(microbatches)) {
    for (const Policy::First first : kFirst) {
      for (const bool taper : {false, true}) {
        Policy policy = {.first = first, .split = split, .in_flight = bound, .taper = taper};
        if (!split) {
          policies.push_back(policy);
          continue;
        }
        for (const int waiting : {1, ranks, 2 * ranks, 3 * microbatches}) {
          for (const double gap : {0.0, 0.5}) {
            policy.waiting_weights = waiting;
            policy.gap = gap;
            policies.push_back(policy);
          }
        }
      }
    }
  }
}

std::vector<Policy> PoliciesOf(const Layout& layout, const ScheduleOptions& options) {
  std::vector<Policy> policies = {
      {.first = Policy::First::kOldest, .forward_first = true, .in_flight = options.microbatches}};
  if (options.order == Order::kGpipe) return policies;
  AddPolicies(layout, options.microbatches, false, policies);
  if (options.order == Order::kSplit) AddPolicies(layout, options.microbatches, true, policies);
  return policies;
}

// Puts messages between what a rank computes: receives right before the first that needs them, so that nothing else
// waits; sends right after.
class MessageWriter {
 public:
  MessageWriter(const Layout& layout, int rank) : layout_(layout), rank_(rank) {}

  std::vector<Instruction> Write(const std::vector<Instruction>& computed) {
    for (const Instruction& i : computed) {
      if (i.task == Task::kForward) ReceiveInputs(i);
      if (i.task == Task::kBackward) ReceiveGradients(i);
      list_.push_back(i);
      if (i.task == Task::kForward) SendOutputs(i);
      if (i.task == Task::kBackward) SendGradients(i);
    }
    return std::move(list_);
  }

 private:
  void Add(Task task, const Instruction& i, int edge, bool gradient, int peer) {
    list_.push_back({.task = task,
                     .microbatch = i.microbatch,
                     .segment = layout_.edges()[edge].from,
                     .edge = edge,
                     .gradient = gradient,
                     .peer = peer});
  }

  int Producer(int edge, int microbatch) const { return layout_.RankOf(layout_.edges()[edge].from, microbatch); }

  void ReceiveInputs(const Instruction& i) {
    for (const int edge : layout_.incoming(i.segment)) {
      const int peer = Producer(edge, i.microbatch);
      if (peer != rank_ && here_.insert({edge, i.microbatch}).second) Add(Task::kReceive, i, edge, false, peer);
    }
  }

  void SendOutputs(const Instruction& i) {
    for (const int edge : layout_.outgoing(i.segment)) {
      for (const int peer : layout_.OtherReaders(edge, i.microbatch, false)) Add(Task::kSend, i, edge, false, peer);
    }
  }

  void ReceiveGradients(const Instruction& i) {
    for (const int edge : layout_.outgoing(i.segment)) {
      for (const int peer : layout_.OtherReaders(edge, i.microbatch, true)) Add(Task::kReceive, i, edge, true, peer);
    }
  }

  // The first reader in the chain is the last one back: all others of this rank have given their gradients.
  void SendGradients(const Instruction& i) {
    for (const int edge : layout_.incoming(i.segment)) {
      const int peer = Producer(edge, i.microbatch);
      if (peer != rank_ && i.segment == FirstReaderHere(edge, i.microbatch)) Add(Task::kSend, i, edge, true, peer);
    }
  }

  int FirstReaderHere(int edge, int microbatch) const {
    for (const Edge::Reader& reader : layout_.edges()[edge].readers) {
      if (reader.differentiated && layout_.RankOf(reader.segment, microbatch) == rank_) return reader.segment;
    }
    return -1;
  }

  const Layout& layout_;
  const int rank_;
  std::vector<Instruction> list_;
  std::set<std::pair<int, int>> here_;  // edges and microbatches that were received
};

Schedule WithMessages(const Layout& layout, int microbatches, bool split, const ListOrder& order) {
  Schedule schedule = {.microbatches = microbatches, .split = split};
  for (int rank = 0; rank < layout.ranks(); ++rank) {
    schedule.ranks.push_back(MessageWriter(layout, rank).Write(order.ranks[rank]));
  }
  return schedule;
}

}  // namespace

Order OrderOf(PipelineConfig::Schedule schedule) {
  switch (schedule) {
    case PipelineConfig::GPIPE:
      return Order::kGpipe;
    case PipelineConfig::ONE_F_ONE_B:
      return Order::kOneFOneB;
    default:
      return Order::kSplit;
  }
}

const char* Name(Order order) {
  switch (order) {
    case Order::kGpipe:
      return "GPIPE";
    case Order::kOneFOneB:
      return "ONE_F_ONE_B";
    default:
      return "SPLIT";
  }
}

absl::StatusOr<Schedule> MakeSchedule(const Layout& layout, const ScheduleOptions& options) {
  if (options.microbatches < 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("a pipeline of ", layout.ranks(), " ranks for ", options.microbatches,
                     " microbatches a step: make training.micro_batch smaller, or the batch larger"));
  }
  const auto make = [&](const Policy& policy) {
    return OrderByPolicy(layout, options.microbatches, options.network, policy);
  };
  struct Tried {
    Policy policy;
    double time;
    int64_t peak, peaks;  // of the fullest rank, and of all together
  };
  std::vector<Tried> tried;
  for (const Policy& policy : PoliciesOf(layout, options)) {
    const ListOrder order = make(policy);
    tried.push_back({policy, order.time, *std::max_element(order.peaks.begin(), order.peaks.end()),
                     std::accumulate(order.peaks.begin(), order.peaks.end(), int64_t{0})});
  }
  double fastest = std::numeric_limits<double>::infinity();
  for (const Tried& t : tried) {
    if (t.peak <= options.memory_limit) fastest = std::min(fastest, t.time);
  }
  // Times that differ by their rounding are equal.
  const double fast = fastest * (1 + options.slack) * (1 + 1e-9);
  const auto key = [&](const Tried& t) { return std::make_tuple(std::max(t.time, fast), t.peak, t.peaks); };
  std::stable_sort(tried.begin(), tried.end(), [&](const Tried& a, const Tried& b) { return key(a) < key(b); });
  for (const Tried& t : tried) {
    if (t.peak > options.memory_limit) continue;
    Schedule schedule = WithMessages(layout, options.microbatches, t.policy.split, make(t.policy));
    const auto peaks = CheckSchedule(layout, schedule, options.memory_limit);
    if (peaks.ok()) return schedule;
    PHOTON_CHECK(absl::IsInvalidArgument(peaks.status())) << peaks.status();  // never a schedule that can't be run
  }
  const Tried& leanest =
      *std::min_element(tried.begin(), tried.end(), [](const Tried& a, const Tried& b) { return a.peak < b.peak; });
  const auto peaks =
      CheckSchedule(layout, WithMessages(layout, options.microbatches, leanest.policy.split, make(leanest.policy)));
  PHOTON_CHECK(peaks.ok()) << peaks.status();
  return absl::InvalidArgumentError(
      absl::StrCat("the pipeline's activations take at least ", *std::max_element(peaks->begin(), peaks->end()),
                   " bytes on a rank under pipeline.schedule ", Name(options.order), ", of which ",
                   options.memory_limit, " are there: make training.micro_batch smaller",
                   options.order == Order::kGpipe ? ", take another schedule," : "", " or parallel.pp larger"));
}

Schedule ForwardOnly(Schedule schedule) {
  for (std::vector<Instruction>& list : schedule.ranks) {
    std::erase_if(list, [](const Instruction& i) {
      return i.task == Task::kBackward || i.task == Task::kWeights || (!i.computes() && i.gradient);
    });
  }
  return schedule;
}

uint64_t Digest(const Schedule& schedule) {
  std::string text = absl::StrCat(schedule.microbatches, schedule.split ? " split" : "");
  for (const std::vector<Instruction>& list : schedule.ranks) {
    text += '\n';
    for (const Instruction& i : list) {
      absl::StrAppend(&text, static_cast<int>(i.task), " ", i.microbatch, " ", i.segment, " ", i.edge, " ", i.gradient,
                      " ", i.peer, ";");
    }
  }
  return StableHash(text);
}

std::string Describe(const Layout& layout, const Instruction& instruction) {
  const auto edge = static_cast<size_t>(instruction.edge);
  const std::string value =
      edge < layout.edges().size() ? layout.edges()[edge].name : absl::StrCat("edge ", instruction.edge);
  const std::string of = absl::StrCat(" of microbatch ", instruction.microbatch);
  switch (instruction.task) {
    case Task::kForward:
      return absl::StrCat("F", instruction.segment, of);
    case Task::kBackward:
      return absl::StrCat("B", instruction.segment, of);
    case Task::kWeights:
      return absl::StrCat("W", instruction.segment, of);
    default:
      return absl::StrCat(instruction.task == Task::kSend ? "send " : "receive ",
                          instruction.gradient ? "gradient of " : "", value, of,
                          instruction.task == Task::kSend ? " to rank " : " from rank ", instruction.peer);
  }
}

}  // namespace photon::pipeline
