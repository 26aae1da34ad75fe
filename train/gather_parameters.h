// The second half of an update of shards: every rank gets what the others have updated.
#pragma once

#include "core/parameter.h"
#include "parallel/mesh.h"

namespace photon {

// Makes what is computed with (compute copies, and masters that have none) whole again on all ranks, a bucket at a
// time. Does nothing where the set is not sharded. Collective.
absl::Status GatherParameters(const Context& context, const ParameterSet& parameters, const Mesh& mesh);

}  // namespace photon
