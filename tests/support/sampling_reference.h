// What sampling draws from (core/ops/sample.h), found by sorting the whole vocabulary.
#pragma once

#include <vector>

#include "core/ops/sample.h"

namespace photon::testing {

// The probability of every token after the cuts, which are taken in the order min-p, top-k, typical-p, top-p. In
// double; the temperature isn't 0 and a logit is finite.
std::vector<double> ProbabilitiesBySorting(const std::vector<double>& logits, const ops::SamplingSettings& settings);

}  // namespace photon::testing
