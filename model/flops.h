// Work per token, counted exactly (spec, section 8): what MFU is computed from.
#pragma once

#include <cstdint>

#include "configs/model.pb.h"
#include "model/chain.h"

namespace photon {

// Floating-point operations of the forward pass of one sequence of `length` tokens: matrix products (a multiply-add is
// two) and attention. Document masks are not deducted; norms and other element-wise work are not counted.
double ForwardFlops(const ModelConfig& config, int64_t length);

// Those of one item of the model's chain.
double ItemFlops(const ModelConfig& config, const ModelItem& item, int64_t length);

// Forward and backward: the backward pass costs twice the forward.
inline double TrainingFlops(const ModelConfig& config, int64_t length) { return 3 * ForwardFlops(config, length); }

}  // namespace photon
