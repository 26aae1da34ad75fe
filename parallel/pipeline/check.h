// Proof that a schedule can be run: before any rank starts it.
//
// Runs the lists abstractly, under the communicators' rules: sends never wait, receives wait for the oldest message of
// their edge from their peer. Refuses what would hang, what reads a value that isn't there, what is missing or there
// twice, and messages that do not match; and counts memory. A pure function.
#pragma once

#include <vector>

#include "parallel/pipeline/schedule.h"

namespace photon::pipeline {

// Peak bytes of each rank: activations of segments, from the forward pass until their last gradient, and values that
// have come (or are kept for a reader on the same rank) and are not all read yet. Gradients on their way, which live
// for one instruction, are left out. kInternal, with rank and instruction, where the schedule is wrong;
// kInvalidArgument where a rank exceeds `memory_limit`.
absl::StatusOr<std::vector<int64_t>> CheckSchedule(const Layout& layout, const Schedule& schedule,
                                                   int64_t memory_limit = std::numeric_limits<int64_t>::max());

}  // namespace photon::pipeline
