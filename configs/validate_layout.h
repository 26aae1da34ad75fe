// Which layouts a model can be trained under: what tensor, chunk and pipeline parallelism can cut evenly.
//
// Pure functions of the config: they judge before anything is allocated. Whether the memory suffices is for a dry run
// to tell (photon plan --dry-run). Any thread.
#pragma once

#include <vector>

#include "absl/status/status.h"
#include "configs/layout.h"
#include "configs/run.pb.h"

namespace photon {

// kInvalidArgument, naming field, reason and remedy, where the model or the batch can't be cut that way. Whatever the
// config says of axes' sizes is of no account. `config` passes all checks of ValidateRun that know no layout.
absl::Status FitsLayout(const RunConfig& config, const LayoutSizes& sizes);

// The same for the sizes that the config asks for on that many ranks. The message ends with the nearest layouts of as
// many ranks that would fit or, where there is none, with the next smaller number of ranks for which there is one.
absl::Status ValidateLayout(const RunConfig& config, int ranks);

// kFailedPrecondition, on GPUs: reductions behind the computation and the exchanges of other axes than dp would wait
// for each other.
absl::Status CheckOverlapOnGpus(const ParallelConfig& parallel, int ranks);

// Every layout of that many ranks that fits, all else as the config says; those nearest to `wanted` (by the factors
// that axes differ by) first, at most `most`.
std::vector<LayoutSizes> LayoutsThatFit(const RunConfig& config, int ranks, const LayoutSizes& wanted, size_t most);

}  // namespace photon
