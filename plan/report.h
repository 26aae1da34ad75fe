// Plans and dry runs in words and as JSON.
#pragma once

#include <string>
#include <vector>

#include "plan/plan.h"

namespace photon {

// What every prediction for that machine rests on, a line each.
std::string DescribeAssumptions(const Machine& machine);

// One layout at length: memory by kind, messages by axis, step, MFU, bubble; and the `parallel` block for a config.
std::string Describe(const Prediction& prediction, const Machine& machine);
// The recommended layout at length, the others a line each.
std::string Describe(const Plan& plan, const Machine& machine, int devices);
// Of a dry run of all ranks: that calls match, and the largest ranks.
std::string DescribeRanks(const Prediction& prediction, int most);
std::string Describe(const std::vector<Scaling>& scaling);

std::string ToJson(const Prediction& prediction, const Machine& machine);
std::string ToJson(const Plan& plan, const Machine& machine);
std::string ToJson(const std::vector<Scaling>& scaling);

}  // namespace photon
