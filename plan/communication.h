// Bytes that a rank sends in a step, in closed form, for every set of axes of the mesh: what a dry run and a real run
// count, to the byte (tests/plan/communication_test.cc). Where each term comes from is said at its formula in the .cc.
//
// In a group of g ranks, a tensor of n bytes on all of them together: all-gather and reduce-scatter send (g - 1) / g n
// from each rank, an all-reduce twice that (parallel/traffic.h has the last element).
#pragma once

#include <cstdint>
#include <map>

#include "configs/run.pb.h"
#include "core/parameter.h"
#include "core/placement.h"
#include "core/status.h"

namespace photon {

using BytesByAxes = std::map<AxisSet, int64_t>;

// Of the rank at `at` and one microbatch, forward and backward, for the model as a whole, as if pp were 1: tensor and
// chunk parallelism. `config` resolved.
BytesByAxes ModelBytes(const RunConfig& config, const MeshCoordinates& at);

// Of a whole step, pipelines included. `parameters`: allocated for that rank, of whose layout into classes and buckets
// follows what gradients and updated parameters take (core/parameter_layout.h).
absl::StatusOr<BytesByAxes> StepBytes(const RunConfig& config, const MeshCoordinates& at,
                                      const ParameterSet& parameters);

}  // namespace photon
