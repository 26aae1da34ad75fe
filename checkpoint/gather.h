// Strings of any length from every rank, over a communicator that moves tensors of equal size.
#pragma once

#include <string>
#include <vector>

#include "parallel/communicator.h"

namespace photon {

// Every rank gets every rank's `mine`, by rank.
absl::StatusOr<std::vector<std::string>> GatherStrings(Communicator& comm, absl::string_view what,
                                                       const std::string& mine);

}  // namespace photon
