#include "parallel/pipeline/list_order.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <tuple>

#include "core/check.h"

namespace photon::pipeline {
namespace {

constexpr double kNever = std::numeric_limits<double>::infinity();

// Something that a rank could take next.
struct Candidate {
  Instruction instruction;
  double ready = kNever;
};

// What is under way on one rank of one of its segments: the next microbatch of each task (all of them, in ascending
// order).
struct Place {
  int segment = 0;
  int first = 0, step = 1;  // its microbatches
  int forward = 0, backward = 0, weights = 0;
  int limit = 1;
};

class ListScheduler {
 public:
  ListScheduler(const Layout& layout, int microbatches, const Network& network, const Policy& policy)
      : layout_(layout), microbatches_(microbatches), network_(network), policy_(policy) {
    const int count = layout.count();
    forward_done_.assign(count, std::vector<double>(microbatches, kNever));
    backward_done_ = forward_done_;
    free_.assign(layout.ranks(), 0);
    bytes_.assign(layout.ranks(), 0);
    order_.peaks.assign(layout.ranks(), 0);
    places_.resize(layout.ranks());
    order_.ranks.resize(layout.ranks());
    MeasureWays();
    for (int rank = 0; rank < layout.ranks(); ++rank) {
      for (const int s : layout.SegmentsOf(rank)) {
        const bool round = layout.form() == Form::kEncoders && s == layout.ranks();
        Place place = {.segment = s, .first = round ? rank : 0, .step = round ? layout.ranks() : 1};
        place.forward = place.backward = place.weights = place.first;
        const double share = policy.taper ? way_[s] / way_[0] : 1;
        place.limit = std::max(1, static_cast<int>(std::ceil(policy.in_flight * share / place.step - 1e-9)));
        places_[rank].push_back(place);
      }
    }
  }

  ListOrder Run() {
    std::vector<Candidate> choice(layout_.ranks());
    stale_.assign(layout_.ranks(), true);
    while (true) {
      // The rank that starts next, in order of time: what the others still start can't be ready for it any earlier.
      int rank = -1;
      double begin = kNever;
      for (int r = 0; r < layout_.ranks(); ++r) {
        if (stale_[r]) choice[r] = Choose(r);
        stale_[r] = false;
        const double start = std::max(free_[r], choice[r].ready);
        if (start < begin) {
          begin = start;
          rank = r;
        }
      }
      if (rank < 0) break;
      Take(rank, choice[rank].instruction, begin);
    }
    for (const std::vector<Place>& places : places_) {
      for (const Place& place : places) PHOTON_CHECK(place.backward >= microbatches_) << "a microbatch is stuck";
    }
    order_.time = *std::max_element(free_.begin(), free_.end());
    return std::move(order_);
  }

 private:
  // way_[s]: cost from segment s's forward pass to its own input gradients, along the chain.
  void MeasureWays() {
    way_.assign(layout_.count(), 0);
    double sum = 0;
    for (int s = layout_.count() - 1; s >= 0; --s) {
      const Segment& segment = layout_.segments()[s];
      sum += segment.forward + segment.backward + (policy_.split ? 0 : segment.weights);
      way_[s] = std::max(sum, std::numeric_limits<double>::min());
    }
  }

  double Transfer(int edge, int from, int to) const {
    return from == to ? 0 : network_.Seconds(layout_.edges()[edge].bytes);
  }

  double ForwardReady(int s, int m, int rank) const {
    double ready = 0;
    for (const int e : layout_.incoming(s)) {
      const int from = layout_.edges()[e].from;
      ready = std::max(ready, forward_done_[from][m] + Transfer(e, layout_.RankOf(from, m), rank));
    }
    return ready;
  }

  double BackwardReady(int s, int m, int rank) const {
    double ready = forward_done_[s][m];
    for (const int e : layout_.outgoing(s)) {
      for (const Edge::Reader& reader : layout_.edges()[e].readers) {
        if (!reader.differentiated) continue;
        ready =
            std::max(ready, backward_done_[reader.segment][m] + Transfer(e, layout_.RankOf(reader.segment, m), rank));
      }
    }
    return ready;
  }

  // True where `a` goes before `b`, of two that could start at the same time.
  bool Before(const Instruction& a, const Instruction& b) const {
    const auto key = [&](const Instruction& i) {
      const bool backward = i.task == Task::kBackward;
      const Segment& segment = layout_.segments()[i.segment];
      double first = 0;
      switch (policy_.first) {
        case Policy::First::kBackward:
          first = backward ? 0 : 1;
          break;
        case Policy::First::kOldest:
          break;
        case Policy::First::kLongest:
          // What is left: of a forward pass its own way and the way back from there, of a backward pass the latter.
          first = -(way_[0] - (backward ? way_[i.segment] : 0));
          if (!backward) first -= way_[i.segment];
          break;
        case Policy::First::kShortest:
          first = backward ? segment.backward : segment.forward;
          break;
      }
      return std::make_tuple(first, i.microbatch, backward ? 0 : 1, -i.segment);
    };
    return key(a) < key(b);
  }

  // What `rank` takes next, and when it can start: never where there is nothing (yet).
  Candidate Choose(int rank) const {
    std::array<Candidate, 4> ready;  // forward and backward passes, of two segments at most
    int count = 0;
    Candidate weights;
    int waiting = 0;
    bool forward_left = false;
    for (const Place& place : places_[rank]) forward_left |= place.forward < microbatches_;
    for (const Place& place : places_[rank]) {
      const int s = place.segment;
      if (place.forward < microbatches_ && place.forward - place.backward < place.limit * place.step) {
        ready[count++] = {{Task::kForward, place.forward, s}, ForwardReady(s, place.forward, rank)};
      }
      if (place.backward < place.forward && !(policy_.forward_first && forward_left)) {
        ready[count++] = {{Task::kBackward, place.backward, s}, BackwardReady(s, place.backward, rank)};
      }
      if (!policy_.split || place.weights >= place.backward) continue;
      waiting += (place.backward - place.weights) / place.step;
      const Candidate own = {{Task::kWeights, place.weights, s}, backward_done_[s][place.weights]};
      // The dearest first: cheap ones fit into gaps that are left.
      if (weights.ready == kNever ||
          layout_.segments()[s].weights > layout_.segments()[weights.instruction.segment].weights) {
        weights = own;
      }
    }
    if (waiting >= policy_.waiting_weights) return weights;
    double begin = kNever;
    for (int i = 0; i < count; ++i) begin = std::min(begin, std::max(free_[rank], ready[i].ready));
    if (weights.ready < kNever) {
      const double cost = layout_.segments()[weights.instruction.segment].weights;
      const double idle = begin - free_[rank];
      if (idle > 0 && idle >= policy_.gap * cost) return weights;
    }
    Candidate best;
    if (begin == kNever) return best;
    for (int i = 0; i < count; ++i) {
      const Candidate& c = ready[i];
      if (c.ready <= begin && (best.ready == kNever || Before(c.instruction, best.instruction))) best = c;
    }
    return best;
  }

  void Take(int rank, const Instruction& i, double begin) {
    const Segment& segment = layout_.segments()[i.segment];
    Place& place = *std::find_if(places_[rank].begin(), places_[rank].end(),
                                 [&](const Place& p) { return p.segment == i.segment; });
    switch (i.task) {
      case Task::kForward:
        place.forward += place.step;
        free_[rank] = begin + segment.forward;
        forward_done_[i.segment][i.microbatch] = free_[rank];
        bytes_[rank] += segment.activation_bytes;
        order_.peaks[rank] = std::max(order_.peaks[rank], bytes_[rank]);
        break;
      case Task::kBackward:
        place.backward += place.step;
        free_[rank] = begin + segment.backward + (policy_.split ? 0 : segment.weights);
        backward_done_[i.segment][i.microbatch] = free_[rank];
        if (!policy_.split) bytes_[rank] -= segment.activation_bytes;
        break;
      default:
        place.weights += place.step;
        free_[rank] = begin + segment.weights;
        bytes_[rank] -= segment.activation_bytes;
    }
    order_.ranks[rank].push_back(i);
    MarkStale(rank, i);
  }

  // The ranks whose next choice may be another now.
  void MarkStale(int rank, const Instruction& i) {
    stale_[rank] = true;
    if (i.task == Task::kForward) {
      for (const int e : layout_.outgoing(i.segment)) {
        for (const Edge::Reader& reader : layout_.edges()[e].readers) {
          stale_[layout_.RankOf(reader.segment, i.microbatch)] = true;
        }
      }
    } else if (i.task == Task::kBackward) {
      for (const int e : layout_.incoming(i.segment)) {
        stale_[layout_.RankOf(layout_.edges()[e].from, i.microbatch)] = true;
      }
    }
  }

  const Layout& layout_;
  const int microbatches_;
  const Network network_;
  const Policy policy_;
  std::vector<double> way_;                                        // [segment]
  std::vector<std::vector<double>> forward_done_, backward_done_;  // [segment][microbatch]
  std::vector<double> free_;                                       // [rank]
  std::vector<int64_t> bytes_;                                     // [rank]
  std::vector<bool> stale_;                                        // [rank]: to choose anew
  std::vector<std::vector<Place>> places_;                         // [rank]
  ListOrder order_;
};

}  // namespace

ListOrder OrderByPolicy(const Layout& layout, int microbatches, const Network& network, const Policy& policy) {
  return ListScheduler(layout, microbatches, network, policy).Run();
}

}  // namespace photon::pipeline
