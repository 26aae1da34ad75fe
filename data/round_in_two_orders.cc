#include "data/round_in_two_orders.h"

#include <algorithm>

#include "core/check.h"

namespace photon {
namespace {

// A network of capacities one. Nodes are numbered; edges point back to their reverse.
class UnitFlow {
 public:
  explicit UnitFlow(size_t nodes) : edges_(nodes), seen_(nodes) {}

  void Add(size_t from, size_t to) {
    edges_[from].push_back({to, edges_[to].size(), 1});
    edges_[to].push_back({from, edges_[from].size() - 1, 0});
  }
  // One more unit from `from` to `to`; false where none fits.
  bool Augment(size_t from, size_t to) {
    std::fill(seen_.begin(), seen_.end(), false);
    return Walk(from, to);
  }
  // Whether the edge between the two carries its unit.
  bool Carries(size_t node, size_t to) const {
    return std::any_of(edges_[node].begin(), edges_[node].end(),
                       [&](const Edge& edge) { return edge.to == to && edge.capacity == 0; });
  }

 private:
  struct Edge {
    size_t to, reverse;
    int capacity;
  };

  bool Walk(size_t at, size_t to) {
    if (at == to) return true;
    seen_[at] = true;
    for (Edge& edge : edges_[at]) {
      if (edge.capacity == 0 || seen_[edge.to] || !Walk(edge.to, to)) continue;
      --edge.capacity;
      ++edges_[edge.to][edge.reverse].capacity;
      return true;
    }
    return false;
  }

  std::vector<std::vector<Edge>> edges_;
  std::vector<bool> seen_;
};

// Calls add(cell, item) for each cell that each item touches.
template <typename F>
void ForEachCell(const std::vector<Rounded>& order, int64_t one, F&& add) {
  size_t cell = 0;
  int64_t filled = 0;  // of that cell
  for (const Rounded& r : order) {
    add(cell, r.item);
    filled += r.fraction;
    if (filled < one) continue;
    filled -= one;
    ++cell;
    if (filled > 0) add(cell, r.item);
  }
  PHOTON_CHECK(filled == 0) << filled;
}

}  // namespace

std::vector<size_t> RoundInTwoOrders(const std::vector<Rounded>& first, const std::vector<Rounded>& second,
                                     int64_t one) {
  PHOTON_CHECK(first.size() == second.size());
  if (first.empty()) return {};
  __int128 sum = 0;
  size_t items = 0;
  for (const Rounded& r : first) {
    sum += r.fraction;
    items = std::max(items, r.item + 1);
  }
  const auto cells = static_cast<size_t>(sum / one);
  const size_t source = 0, sink = 1, in = 2, out = in + items, left = out + items, right = left + cells;
  UnitFlow flow(right + cells);
  for (size_t c = 0; c < cells; ++c) {
    flow.Add(source, left + c);
    flow.Add(right + c, sink);
  }
  for (const Rounded& r : first) flow.Add(in + r.item, out + r.item);
  ForEachCell(first, one, [&](size_t cell, size_t item) { flow.Add(left + cell, in + item); });
  ForEachCell(second, one, [&](size_t cell, size_t item) { flow.Add(out + item, right + cell); });
  for (size_t c = 0; c < cells; ++c) PHOTON_CHECK(flow.Augment(source, sink)) << c << " of " << cells;
  std::vector<size_t> chosen;
  for (const Rounded& r : first) {
    if (flow.Carries(in + r.item, out + r.item)) chosen.push_back(r.item);
  }
  return chosen;
}

}  // namespace photon
