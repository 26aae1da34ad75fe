#include "configs/layout.h"

#include "absl/strings/str_cat.h"
#include "configs/checks.h"

namespace photon {
namespace {

constexpr int kLongestAxis = 1 << 15;  // so that the product of four fits an int64

}  // namespace

std::string LayoutSizes::ToString() const { return absl::StrCat("dp ", dp, ", pp ", pp, ", cp ", cp, ", tp ", tp); }

absl::StatusOr<LayoutSizes> SizesOfLayout(const ParallelConfig& config, int ranks) {
  LayoutSizes sizes = {.dp = config.dp(), .pp = config.pp(), .cp = config.cp(), .tp = config.tp()};
  const struct {
    const char* name;
    int size;
    bool given;
  } axes[] = {
      {"dp", sizes.dp, config.has_dp()}, {"pp", sizes.pp, true}, {"cp", sizes.cp, true}, {"tp", sizes.tp, true}};
  for (const auto& axis : axes) {
    if (!axis.given) continue;
    if (absl::Status s = Within(absl::StrCat("parallel.", axis.name), axis.size, 1, kLongestAxis); !s.ok()) return s;
  }
  const int64_t others = int64_t{sizes.pp} * sizes.cp * sizes.tp;
  const bool divides = ranks % others == 0;
  if (!config.has_dp() && divides) sizes.dp = static_cast<int>(ranks / others);
  if (config.has_dp() || divides) {
    const int64_t product = sizes.dp * others;
    if (product == ranks) return sizes;
    std::string remedy = absl::StrCat("start ", product);
    if (divides) absl::StrAppend(&remedy, ", or set parallel.dp = ", ranks / others);
    return absl::InvalidArgumentError(absl::StrCat(
        "parallel: dp * pp * cp * tp = ", sizes.dp, " * ", sizes.pp, " * ", sizes.cp, " * ", sizes.tp, " = ", product,
        ", but the job has ", ranks, " rank(s): ", remedy, " (unset, dp takes what the others leave)"));
  }
  const int64_t below = ranks / others * others;
  return absl::InvalidArgumentError(
      absl::StrCat("parallel: pp * cp * tp = ", sizes.pp, " * ", sizes.cp, " * ", sizes.tp, " = ", others,
                   " does not divide the ", ranks, " rank(s) of the job: start ",
                   below > 0 ? absl::StrCat(below, " or ") : "", below + others, ", or make pp, cp or tp smaller"));
}

void SetSizes(const LayoutSizes& sizes, ParallelConfig* config) {
  config->set_dp(sizes.dp);
  config->set_pp(sizes.pp);
  config->set_cp(sizes.cp);
  config->set_tp(sizes.tp);
}

LevelLayout LayoutOfLevel(const ParallelConfig& config, int level) {
  return level <= config.levels_size() ? config.levels(level - 1) : LevelLayout();
}

}  // namespace photon
