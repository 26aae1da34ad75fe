// The weights of sources that are blended (docs/data.md, Blending).
#pragma once

#include "absl/status/status.h"
#include "configs/data.pb.h"

namespace photon {

// kInvalidArgument, naming the field and the remedy: train and source at once or neither, sources without a prefix or
// twice, some weights given and some not, weights that are no numbers, negative, all zero, or do not add up. Weights of
// which one is 1 or more are parts of any sum; else they are shares, which add up to 1 within 0.001 (0.333 three times).
absl::Status ValidateSources(const DataConfig& data);

}  // namespace photon
