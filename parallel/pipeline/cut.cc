#include "parallel/pipeline/cut.h"

#include <algorithm>
#include <numeric>
#include <optional>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "core/check.h"

namespace photon::pipeline {
namespace {

// What a rank may have at most.
struct Limit {
  double cost, memory;
};

// Cuts of items [0, items) for `ranks` ranks, of which all but the last have a slice at each end of what is left
// (folded), or one at its beginning.
class Cutter {
 public:
  Cutter(const Chain& chain, int items, int ranks, bool folded, int in_flight)
      : items_(items), ranks_(ranks), folded_(folded), cost_(items + 1), memory_(items + 1) {
    for (int i = 0; i < items; ++i) {
      const Item& item = chain.items[i];
      cost_[i + 1] = cost_[i] + item.total();
      memory_[i + 1] = memory_[i] + static_cast<double>(item.parameter_bytes) +
                       static_cast<double>(item.activation_bytes) * in_flight;
    }
  }

  double whole_cost() const { return cost_.back(); }
  double whole_memory() const { return memory_.back(); }

  // Borders of segments that keep the limit, or nothing.
  std::optional<std::vector<int>> Fit(const Limit& limit) const {
    // left[r][u][d]: the first r ranks can take all but the items [u, d).
    std::vector<Left> left(ranks_, Left(items_ + 1, std::vector<bool>(items_ + 1, false)));
    left[0][0][items_] = true;
    for (int r = 0; r + 1 < ranks_; ++r) Grow(left[r], limit, Room(r + 1), left[r + 1]);
    for (int u = 0; u < items_; ++u) {
      for (int d = u + 1; d <= items_; ++d) {
        if (left[ranks_ - 1][u][d] && Keeps(limit, u, d, d, d)) return Borders(left, limit, u, d);
      }
    }
    return std::nullopt;
  }

  // Of the most loaded rank.
  Limit Loads(const std::vector<int>& borders) const {
    Limit most = {0, 0};
    for (int r = 0; r < ranks_; ++r) {
      const int mirror = static_cast<int>(borders.size()) - 2 - r;
      const bool pair = folded_ && mirror != r;
      const auto sum = [&](const std::vector<double>& of) {
        return of[borders[r + 1]] - of[borders[r]] + (pair ? of[borders[mirror + 1]] - of[borders[mirror]] : 0);
      };
      most = {std::max(most.cost, sum(cost_)), std::max(most.memory, sum(memory_))};
    }
    return most;
  }

 private:
  using Left = std::vector<std::vector<bool>>;

  // The fewest items that ranks from r on need.
  int Room(int r) const { return folded_ ? 2 * (ranks_ - r) - 1 : ranks_ - r; }

  // Items [a, b) and [c, d) on one rank. The sums are differences of long sums: equal loads differ in their last
  // digits.
  bool Keeps(const Limit& limit, int a, int b, int c, int d) const {
    const double whole = 1e-12;
    return cost_[b] - cost_[a] + cost_[d] - cost_[c] <= limit.cost + whole * whole_cost() &&
           memory_[b] - memory_[a] + memory_[d] - memory_[c] <= limit.memory + whole * whole_memory();
  }

  void Grow(const Left& from, const Limit& limit, int room, Left& to) const {
    for (int u = 0; u < items_; ++u) {
      const auto lowest = std::find(from[u].begin(), from[u].end(), true);
      if (lowest == from[u].end()) continue;
      const int least = static_cast<int>(lowest - from[u].begin());
      for (int up = u + 1; up < items_ && Keeps(limit, u, up, 0, 0); ++up) {
        if (!folded_) {
          if (items_ - up >= room) to[up][items_] = true;
          continue;
        }
        // Of each d, the ends that leave slices [end, d) which fit: they begin where that of the next higher d began,
        // or below. `set`: all from there on are done.
        int begin = items_, set = items_;
        for (int d = items_; d > up && d >= least; --d) {
          if (!from[u][d]) continue;
          begin = std::min(begin, d);
          while (begin - 1 >= up + room && Keeps(limit, u, up, begin - 1, d)) --begin;
          for (int end = std::min(set, d) - 1; end >= begin; --end) to[up][end] = true;
          set = std::min(set, begin);
        }
      }
    }
  }

  std::vector<int> Borders(const std::vector<Left>& left, const Limit& limit, int u, int d) const {
    std::vector<int> up = {u}, down = {d};  // the innermost first
    for (int r = ranks_ - 1; r > 0; --r) {
      const auto [before, after] = Before(left[r - 1], limit, up.back(), down.back());
      up.push_back(before);
      down.push_back(after);
    }
    std::vector<int> borders(up.rbegin(), up.rend());
    if (folded_) {
      borders.insert(borders.end(), down.begin(), down.end());
    } else {
      borders.push_back(items_);
    }
    return borders;
  }

  std::pair<int, int> Before(const Left& left, const Limit& limit, int u, int d) const {
    for (int before = 0; before < u; ++before) {
      for (int after = folded_ ? d + 1 : d; after <= items_; ++after) {
        if (left[before][after] && Keeps(limit, before, u, d, after)) return {before, after};
      }
    }
    PHOTON_CHECK(false) << "no way to the pieces that are left";
    return {};
  }

  const int items_, ranks_;
  const bool folded_;
  std::vector<double> cost_, memory_;  // of the items before
};

// The cut that has least of the limit's `field` (up to a ten-millionth) and keeps the other; nothing where none does.
// Upwards from an even share, in growing steps: low limits are quick to try, and the least is mostly near.
std::optional<std::vector<int>> Least(const Cutter& cutter, Limit limit, double Limit::*field, double whole,
                                      int ranks) {
  double low = whole / ranks;
  std::optional<std::vector<int>> best;
  for (double more = low / 64; !best.has_value(); more *= 2) {
    limit.*field = low + more;
    best = cutter.Fit(limit);
    if (best.has_value()) break;
    if (limit.*field >= whole) return std::nullopt;
    low = limit.*field;
  }
  for (double high = cutter.Loads(*best).*field; high - low > 1e-7 * high;) {
    limit.*field = (low + high) / 2;
    if (auto borders = cutter.Fit(limit)) {
      best = std::move(borders);
      high = cutter.Loads(*best).*field;
    } else {
      low = limit.*field;
    }
  }
  return best;
}

std::string Mebibytes(double bytes) { return absl::StrFormat("%.1f MiB", bytes / (1 << 20)); }

}  // namespace

absl::StatusOr<Layout> CutByCost(const Chain& chain, Form form, int ranks, const CutOptions& options) {
  if (ranks < 1) return absl::InvalidArgumentError(absl::StrCat("parallel.pp = ", ranks, ": it must be at least 1"));
  const bool folded = form == Form::kFolded;
  const int all = static_cast<int>(chain.items.size());
  const int items = form == Form::kEncoders ? chain.encoders : all;
  const int needed = folded ? 2 * ranks - 1 : ranks;
  if (items < needed || (form == Form::kEncoders && items == all)) {
    const int most = folded ? (items + 1) / 2 : items;
    return absl::InvalidArgumentError(absl::StrCat(
        "parallel.pp = ", ranks, ", pipeline.form = ", Name(form), ": the model's ", items,
        form == Form::kEncoders ? " encoder layers" : " layers and head", " can't be cut into ", needed, " pieces",
        most > 0 ? absl::StrCat(": set parallel.pp to at most ", most)
                 : ": it has no encoders, take pipeline.form FOLDED"));
  }
  const Cutter cutter(chain, items, ranks, folded, options.in_flight > 0 ? options.in_flight : ranks);
  const auto least = [&](const Limit& limit, double Limit::*field) {
    return Least(cutter, limit, field, field == &Limit::cost ? cutter.whole_cost() : cutter.whole_memory(), ranks);
  };
  constexpr double kAny = std::numeric_limits<double>::infinity();
  const auto cheapest = least({kAny, options.memory_limit}, &Limit::cost);
  if (!cheapest.has_value()) {
    const double memory = cutter.Loads(*least({kAny, kAny}, &Limit::memory)).memory;
    return absl::InvalidArgumentError(
        absl::StrCat("parallel.pp = ", ranks, ": no cut of the model keeps ", Mebibytes(options.memory_limit),
                     " a rank; the least that the fullest rank can have is ", Mebibytes(memory),
                     ": raise parallel.pp or parallel.tp, make microbatches smaller, or take more memory"));
  }
  const double load = cutter.Loads(*cheapest).cost * (1 + options.slack);
  std::vector<int> borders = *least({load, options.memory_limit}, &Limit::memory);
  if (form == Form::kEncoders) borders.push_back(all);
  return Layout::Create(chain, form, ranks, borders);
}

std::string Describe(const Layout& layout) {
  std::vector<double> loads;
  for (int rank = 0; rank < layout.ranks(); ++rank) {
    double load = 0;
    for (const int s : layout.SegmentsOf(rank)) {
      const Segment& segment = layout.segments()[s];
      // The segment that goes round has 1 / ranks of the microbatches on each.
      const bool round = layout.form() == Form::kEncoders && s == layout.ranks();
      load += (segment.forward + segment.backward + segment.weights) / (round ? layout.ranks() : 1);
    }
    loads.push_back(load);
  }
  const double whole = std::accumulate(loads.begin(), loads.end(), 0.0);
  const double greatest = *std::max_element(loads.begin(), loads.end());
  std::string text = absl::StrFormat("pipeline %s, %d stage(s); of all that share a stage together, before ZeRO:\n",
                                     Name(layout.form()), layout.ranks());
  for (int rank = 0; rank < layout.ranks(); ++rank) {
    double parameters = 0, activations = 0;
    std::vector<std::string> labels;
    for (const int s : layout.SegmentsOf(rank)) {
      parameters += static_cast<double>(layout.segments()[s].parameter_bytes);
      activations += static_cast<double>(layout.segments()[s].activation_bytes);
      labels.push_back(layout.segments()[s].label);
    }
    absl::StrAppendFormat(
        &text, "stage %3d  work %5.1f %%  parameters with their state %s  activations of a microbatch %s  %s\n", rank,
        whole > 0 ? 100 * loads[rank] / whole : 0, Mebibytes(parameters), Mebibytes(activations),
        absl::StrJoin(labels, " | "));
  }
  int64_t sent = 0, messages = 0;
  for (int e = 0; e < static_cast<int>(layout.edges().size()); ++e) {
    const auto count =
        static_cast<int64_t>(layout.OtherReaders(e, 0, false).size() + layout.OtherReaders(e, 0, true).size());
    messages += count;
    sent += count * layout.edges()[e].bytes;
  }
  absl::StrAppendFormat(&text, "balance %.1f %%; between ranks %d messages of %s together for a microbatch\n",
                        greatest > 0 ? 100 * whole / (greatest * layout.ranks()) : 100, messages,
                        Mebibytes(static_cast<double>(sent)));
  return text;
}

}  // namespace photon::pipeline
