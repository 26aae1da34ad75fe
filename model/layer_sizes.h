// What one Transformer layer holds and keeps.
#pragma once

#include <cstdint>

#include "configs/model.pb.h"

namespace photon {

// Elements of its matrices: the parameters but for its two norms.
int64_t LayerMatrices(const ModelConfig& config);

// Bytes that it keeps of a row for its backward pass: two residual sums of `master` bytes an element, and of `compute`
// bytes two norms, q, k and v, what attention gives, gate and up, and their product.
double LayerActivationBytes(const ModelConfig& config, double master, double compute);

}  // namespace photon
