// Which rank runs on which machine, and whether that suits the mesh.
#pragma once

#include <array>
#include <string>
#include <vector>

#include "core/placement.h"
#include "core/status.h"
#include "parallel/communicator.h"

namespace photon {

// Every rank's machine, by name. All ranks call it.
absl::StatusOr<std::vector<std::string>> GatherHosts(Communicator& world);

// Names of the machines, "node 0" and on, of ranks that are yet to be started, so many on each.
std::vector<std::string> PlannedHosts(int ranks, int per_host);

// "ranks 0-3, 6 (node1)", "rank 5 (node2)", "ranks 0-7 (4 hosts)".
std::string DescribeRanks(const std::vector<int>& ranks, const std::vector<std::string>& hosts);

// "ranks 0-3 on node1, 4-7 on node2"; past 16 machines, how many: "1024 ranks on 128 hosts".
std::string DescribeHosts(const std::vector<std::string>& hosts);

// Tensor parallelism exchanges in every layer, and so belongs inside a machine. Where a tp group of a mesh of these
// sizes ([dp][pp][cp][tp], tp fastest) lies on several: which, and how to start the ranks instead. Else empty.
std::string TensorParallelAcrossHosts(const std::array<int, kMeshAxes>& sizes, const std::vector<std::string>& hosts);

}  // namespace photon
