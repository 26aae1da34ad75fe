#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "parallel/gloo_connections.h"
#include "parallel/side_channel.h"

namespace photon {

// `members`: the ranks in `connections`, `rank` the own place among them. `slot`: nothing else on these connections has
// it.
std::unique_ptr<SideChannel> GlooSideChannel(std::shared_ptr<GlooConnections> connections, std::vector<int> members,
                                             int rank, uint64_t slot);

}  // namespace photon
