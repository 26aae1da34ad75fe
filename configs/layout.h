// What follows from a run's `parallel` block: the sizes of the mesh's axes and the layout of each level.
//
// Pure functions; any thread.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "configs/parallel.pb.h"

namespace photon {

// Ranks along each axis of the mesh, [dp][pp][cp][tp].
struct LayoutSizes {
  int dp = 1, pp = 1, cp = 1, tp = 1;

  int64_t ranks() const { return int64_t{dp} * pp * cp * tp; }
  std::string ToString() const;  // "dp 4, pp 1, cp 2, tp 1"
  friend bool operator==(const LayoutSizes&, const LayoutSizes&) = default;
};

// The sizes for that many ranks: dp takes what the others leave where it is not set. kInvalidArgument where they do not
// multiply to `ranks`, with sizes that would.
absl::StatusOr<LayoutSizes> SizesOfLayout(const ParallelConfig& config, int ranks);

void SetSizes(const LayoutSizes& sizes, ParallelConfig* config);

// Of level 1, 2, ..; the flat model's stack is level 1. Levels that are not listed have the defaults.
LevelLayout LayoutOfLevel(const ParallelConfig& config, int level);

}  // namespace photon
