// Which rank writes which parameter: of the ranks that hold the same part, one does.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "core/placement.h"

namespace photon {

struct HeldPart {
  AxisSet holders;   // ranks that differ from this one along these axes alone hold the same
  int64_t elements;  // of one rank's part
};

// For every part that the rank at `at` holds, whether it owns it. Among ranks that hold the same parts, each goes to
// the one with the least of those to write so far, so that files come out about equal. The holders of a part must list
// the same parts of the same holders in the same order, and need not know of others: none asks another, and a pipeline
// stage knows its own parameters only.
std::vector<bool> OwnedParts(absl::Span<const HeldPart> parts, const MeshCoordinates& at);

}  // namespace photon
