// Which rank writes which parameter: of the ranks that hold the same part, one does.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "core/placement.h"

namespace photon {

struct PlacedPart {
  const Placement* placement;
  int64_t elements;  // of one rank's part
};

// For every part, whether the rank at `at` owns it. The ranks that differ along replicating axes alone hold the same;
// each such part goes to the one of them with the least to write so far, so that files come out about equal. Every
// rank must give the same list: none asks another.
std::vector<bool> OwnedParts(absl::Span<const PlacedPart> parts, const MeshCoordinates& at);

}  // namespace photon
