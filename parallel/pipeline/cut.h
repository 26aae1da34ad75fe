// Where to cut a chain: the segments of the ranks of a pipeline, balanced by cost.
//
// What is balanced is a rank's whole work: in the folded form that of its slice of the way up and its slice of the way
// down together, so that cheap coarse encoders go with dear level-1 decoders. A cut may fall inside a level, and the
// head is an item like others. Exact: no other cut into non-empty segments has a less loaded most loaded rank; among
// those within `slack` of it, the rank with most memory has least.
//
// Pure functions. Found by bisection over the load that is allowed; for one, the sets of pieces that the first ranks
// can leave over are grown rank by rank (about items^3 / ranks steps each).
#pragma once

#include <limits>
#include <string>

#include "parallel/pipeline/layout.h"

namespace photon::pipeline {

struct CutOptions {
  double slack = 0;  // share of the least load that may be given up for memory
  double memory_limit = std::numeric_limits<double>::infinity();  // bytes of a rank
  int in_flight = 0;  // microbatches whose activations count as memory; 0: as many as ranks
};

// kInvalidArgument where there are fewer items than segments, or nothing keeps the memory limit; with the remedy.
absl::StatusOr<Layout> CutByCost(const Chain& chain, Form form, int ranks, const CutOptions& options = {});

// One line a rank: its segments, share of the work, parameters and activations; then the balance (mean load over
// greatest: the efficiency that the cut alone allows) and what goes between ranks.
std::string Describe(const Layout& layout);

}  // namespace photon::pipeline
