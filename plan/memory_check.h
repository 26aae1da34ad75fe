// Whether a run's state and a step of it fit the memory, told before anything is allocated.
#pragma once

#include "configs/run.pb.h"
#include "core/status.h"

namespace photon {

// `config` as written, valid for `ranks`; `memory`: bytes that rank number `rank` may take. Dry-runs that rank alone,
// in well under a second. kInvalidArgument where it needs more: with the kinds of memory, and the nearest layouts of as
// many ranks whose first rank would fit.
absl::Status FitsMemory(const RunConfig& config, int rank, int ranks, double memory);

}  // namespace photon
