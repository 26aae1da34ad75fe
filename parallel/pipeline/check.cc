#include "parallel/pipeline/check.h"

#include <algorithm>
#include <deque>
#include <map>
#include <set>
#include <tuple>

#include "absl/strings/str_cat.h"

namespace photon::pipeline {
namespace {

// A value of one microbatch that is on a rank: an activation, or the sum of its readers' gradients.
using ValueKey = std::tuple<int, int, bool>;  // edge, microbatch, gradient

// One rank's state while its list is gone through.
struct RankState {
  size_t next = 0;
  std::set<std::tuple<Task, int, int>> done;           // of what computes: task, segment, microbatch
  std::map<ValueKey, int> here;                        // values that came or were made here -> readers left
  std::map<ValueKey, int> gradients;                   // readers here that gave their gradient, not yet sent
  std::set<std::tuple<int, int, bool, int>> messages;  // edge, microbatch, gradient, peer: sent and received
  int64_t bytes = 0, peak = 0;

  void Hold(int64_t more) {
    bytes += more;
    peak = std::max(peak, bytes);
  }
};

class Checker {
 public:
  Checker(const Layout& layout, const Schedule& schedule) : layout_(layout), schedule_(schedule) {}

  absl::StatusOr<std::vector<int64_t>> Run(int64_t memory_limit) {
    if (static_cast<int>(schedule_.ranks.size()) != layout_.ranks()) {
      return absl::InternalError(
          absl::StrCat("the schedule is for ", schedule_.ranks.size(), " ranks, the layout for ", layout_.ranks()));
    }
    states_.resize(layout_.ranks());
    for (bool moved = true; moved;) {
      moved = false;
      for (rank_ = 0; rank_ < layout_.ranks(); ++rank_) {
        PHOTON_ASSIGN_OR_RETURN(const bool some, Advance());
        moved |= some;
      }
    }
    PHOTON_RETURN_IF_ERROR(CheckEnd());
    std::vector<int64_t> peaks;
    for (int rank = 0; rank < layout_.ranks(); ++rank) {
      peaks.push_back(states_[rank].peak);
      if (peaks.back() <= memory_limit) continue;
      return absl::InvalidArgumentError(absl::StrCat("pipeline rank ", rank, ": activations reach ", peaks.back(),
                                                     " bytes, the limit is ", memory_limit));
    }
    return peaks;
  }

 private:
  RankState& state() { return states_[rank_]; }
  const std::vector<Instruction>& list() const { return schedule_.ranks[rank_]; }

  absl::Status Refuse(const Instruction& i, absl::string_view why) const {
    return absl::InternalError(absl::StrCat("pipeline rank ", rank_, ", instruction ", states_[rank_].next, ", ",
                                            Describe(layout_, i), ": ", why));
  }

  // Goes on until the list ends or a receive waits; whether there was anything to do.
  absl::StatusOr<bool> Advance() {
    const size_t begin = state().next;
    for (; state().next < list().size(); ++state().next) {
      const Instruction& i = list()[state().next];
      if (i.microbatch < 0 || i.microbatch >= schedule_.microbatches) return Refuse(i, "there is no such microbatch");
      if (i.computes()) {
        PHOTON_RETURN_IF_ERROR(Compute(i));
        continue;
      }
      PHOTON_RETURN_IF_ERROR(CheckMessage(i));
      if (i.task == Task::kSend) {
        PHOTON_RETURN_IF_ERROR(Send(i));
        continue;
      }
      PHOTON_ASSIGN_OR_RETURN(const bool came, Receive(i));
      if (!came) break;
    }
    return state().next > begin;
  }

  absl::Status Compute(const Instruction& i) {
    if (i.segment < 0 || i.segment >= layout_.count()) return Refuse(i, "there is no such segment");
    if (layout_.RankOf(i.segment, i.microbatch) != rank_) return Refuse(i, "it belongs to another rank");
    if (i.task == Task::kWeights && !schedule_.split) return Refuse(i, "this schedule doesn't split weight gradients");
    if (!state().done.insert({i.task, i.segment, i.microbatch}).second) return Refuse(i, "it is there twice");
    switch (i.task) {
      case Task::kForward:
        return Forward(i);
      case Task::kBackward:
        return Backward(i);
      default:
        if (!Done(Task::kBackward, i)) return Refuse(i, "its backward pass comes later");
        state().Hold(-layout_.segments()[i.segment].activation_bytes);
        return absl::OkStatus();
    }
  }

  bool Done(Task task, const Instruction& i) { return state().done.contains({task, i.segment, i.microbatch}); }

  int ReadersHere(int edge, int microbatch, bool gradient) const {
    int count = 0;
    for (const Edge::Reader& reader : layout_.edges()[edge].readers) {
      count += layout_.RankOf(reader.segment, microbatch) == rank_ && (reader.differentiated || !gradient);
    }
    return count;
  }

  absl::Status Forward(const Instruction& i) {
    state().Hold(layout_.segments()[i.segment].activation_bytes);
    for (const int edge : layout_.incoming(i.segment)) {
      const auto value = state().here.find({edge, i.microbatch, false});
      if (value == state().here.end()) return Refuse(i, absl::StrCat(layout_.edges()[edge].name, " isn't there"));
      if (--value->second > 0) continue;
      state().here.erase(value);
      state().Hold(-layout_.edges()[edge].bytes);
    }
    for (const int edge : layout_.outgoing(i.segment)) {
      if (const int readers = ReadersHere(edge, i.microbatch, false); readers > 0) Keep(edge, i.microbatch, readers);
    }
    return absl::OkStatus();
  }

  void Keep(int edge, int microbatch, int readers) {
    state().here[{edge, microbatch, false}] = readers;
    state().Hold(layout_.edges()[edge].bytes);
  }

  absl::Status Backward(const Instruction& i) {
    if (!Done(Task::kForward, i)) return Refuse(i, "its forward pass comes later");
    for (const int edge : layout_.outgoing(i.segment)) {
      // Each rank with differentiated readers has to have given its sum.
      const ValueKey key = {edge, i.microbatch, true};
      if (state().gradients[key] != ReadersHere(edge, i.microbatch, true)) {
        return Refuse(i, absl::StrCat("readers of ", layout_.edges()[edge].name, " on this rank come later"));
      }
      state().gradients.erase(key);
      for (const int peer : layout_.OtherReaders(edge, i.microbatch, true)) {
        if (!state().messages.contains({edge, i.microbatch, true, peer})) {
          return Refuse(
              i, absl::StrCat("the gradient of ", layout_.edges()[edge].name, " from rank ", peer, " isn't there"));
        }
      }
    }
    for (const int edge : layout_.incoming(i.segment)) {
      if (layout_.Differentiated(edge, i.segment)) ++state().gradients[{edge, i.microbatch, true}];
    }
    if (!schedule_.split) state().Hold(-layout_.segments()[i.segment].activation_bytes);
    return absl::OkStatus();
  }

  absl::Status CheckMessage(const Instruction& i) {
    if (i.edge < 0 || i.edge >= static_cast<int>(layout_.edges().size())) return Refuse(i, "there is no such edge");
    const bool producer = layout_.RankOf(layout_.edges()[i.edge].from, i.microbatch) == rank_;
    if (producer != ((i.task == Task::kSend) != i.gradient)) return Refuse(i, "it goes the wrong way");
    const int reader = producer ? i.peer : rank_;
    const std::vector<int> readers = layout_.OtherReaders(i.edge, i.microbatch, i.gradient);
    if (std::find(readers.begin(), readers.end(), reader) == readers.end() ||
        (!producer && i.peer != layout_.RankOf(layout_.edges()[i.edge].from, i.microbatch))) {
      return Refuse(i, "the edge doesn't go between these ranks");
    }
    // A receive that waits comes here again; only the one that has its message is entered, in Receive().
    if (state().messages.contains({i.edge, i.microbatch, i.gradient, i.peer})) return Refuse(i, "it is there twice");
    return absl::OkStatus();
  }

  absl::Status Send(const Instruction& i) {
    if (!i.gradient) {
      if (!state().done.contains({Task::kForward, layout_.edges()[i.edge].from, i.microbatch})) {
        return Refuse(i, "what it sends isn't computed");
      }
    } else if (state().gradients[{i.edge, i.microbatch, true}] != ReadersHere(i.edge, i.microbatch, true)) {
      return Refuse(i, "not all readers have given their gradient");
    } else {
      state().gradients.erase({i.edge, i.microbatch, true});
    }
    state().messages.insert({i.edge, i.microbatch, i.gradient, i.peer});
    under_way_[{rank_, i.peer, i.edge, i.gradient}].push_back(i.microbatch);
    return absl::OkStatus();
  }

  absl::StatusOr<bool> Receive(const Instruction& i) {
    std::deque<int>& messages = under_way_[{i.peer, rank_, i.edge, i.gradient}];
    if (messages.empty()) return false;
    if (messages.front() != i.microbatch) {
      return Refuse(i, absl::StrCat("the message that comes is of microbatch ", messages.front()));
    }
    messages.pop_front();
    state().messages.insert({i.edge, i.microbatch, i.gradient, i.peer});
    if (!i.gradient) Keep(i.edge, i.microbatch, ReadersHere(i.edge, i.microbatch, false));
    return true;
  }

  absl::Status CheckEnd() {
    for (rank_ = 0; rank_ < layout_.ranks(); ++rank_) {
      if (state().next < list().size()) return Refuse(list()[state().next], "it waits for ever");
    }
    for (const auto& [way, messages] : under_way_) {
      const auto& [from, to, edge, gradient] = way;
      if (messages.empty()) continue;
      return absl::InternalError(absl::StrCat("pipeline: rank ", to, " never takes the message of ",
                                              layout_.edges()[edge].name, gradient ? ", its gradient," : "",
                                              " of microbatch ", messages.front(), " from rank ", from));
    }
    for (int m = 0; m < schedule_.microbatches; ++m) {
      for (int s = 0; s < layout_.count(); ++s) {
        rank_ = layout_.RankOf(s, m);
        for (const Task task : {Task::kForward, Task::kBackward, Task::kWeights}) {
          if (task == Task::kWeights && !schedule_.split) continue;
          const Instruction missing = {.task = task, .microbatch = m, .segment = s};
          if (!Done(task, missing)) {
            return absl::InternalError(
                absl::StrCat("pipeline rank ", rank_, ": ", Describe(layout_, missing), " is missing"));
          }
        }
      }
    }
    return absl::OkStatus();
  }

  const Layout& layout_;
  const Schedule& schedule_;
  int rank_ = 0;  // whose list is gone through
  std::vector<RankState> states_;
  std::map<std::tuple<int, int, int, bool>, std::deque<int>> under_way_;  // [from, to, edge, gradient] -> microbatches
};

}  // namespace

absl::StatusOr<std::vector<int64_t>> CheckSchedule(const Layout& layout, const Schedule& schedule,
                                                   int64_t memory_limit) {
  return Checker(layout, schedule).Run(memory_limit);
}

}  // namespace photon::pipeline
