#include "parallel/pipeline/simulate.h"

#include <algorithm>
#include <deque>
#include <map>
#include <tuple>

#include "core/check.h"

namespace photon::pipeline {

double CostOf(const Layout& layout, const Instruction& instruction, bool split) {
  const Segment& segment = layout.segments()[instruction.segment];
  switch (instruction.task) {
    case Task::kForward:
      return segment.forward;
    case Task::kBackward:
      return segment.backward + (split ? 0 : segment.weights);
    case Task::kWeights:
      return segment.weights;
    default:
      return 0;
  }
}

Timeline Simulate(const Layout& layout, const Schedule& schedule, const Network& network) {
  const int ranks = layout.ranks();
  Timeline timeline;
  timeline.ranks.resize(ranks);
  std::vector<size_t> next(ranks, 0);
  std::vector<double> now(ranks, 0);
  std::map<std::pair<int, int>, double> link_free;                         // [from, to]
  std::map<std::tuple<int, int, int, bool>, std::deque<double>> arriving;  // [from, to, edge, gradient]
  for (bool moved = true; moved;) {
    moved = false;
    for (int rank = 0; rank < ranks; ++rank) {
      for (; next[rank] < schedule.ranks[rank].size(); ++next[rank], moved = true) {
        const Instruction& i = schedule.ranks[rank][next[rank]];
        const double begin = now[rank];
        if (i.task == Task::kSend) {
          double& free = link_free[{rank, i.peer}];
          free = std::max(free, begin) + static_cast<double>(layout.edges()[i.edge].bytes) / network.bytes_per_unit;
          arriving[{rank, i.peer, i.edge, i.gradient}].push_back(free + network.latency);
          continue;
        }
        if (i.task == Task::kReceive) {
          std::deque<double>& messages = arriving[{i.peer, rank, i.edge, i.gradient}];
          if (messages.empty()) break;
          now[rank] = std::max(begin, messages.front());
          messages.pop_front();
          if (now[rank] > begin) timeline.ranks[rank].push_back({i, begin, now[rank]});
          continue;
        }
        const double cost = CostOf(layout, i, schedule.split);
        now[rank] += cost;
        timeline.work += cost;
        timeline.ranks[rank].push_back({i, begin, now[rank]});
      }
    }
  }
  for (int rank = 0; rank < ranks; ++rank) {
    PHOTON_CHECK(next[rank] == schedule.ranks[rank].size())
        << "rank " << rank << " waits for ever: check schedules first";
  }
  timeline.time = *std::max_element(now.begin(), now.end());
  return timeline;
}

}  // namespace photon::pipeline
