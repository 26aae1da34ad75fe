// Attention inside windows of at most kLongestWindow rows. Arguments as in core/ops/attention.h.
#pragma once

#include "core/cuda/attention_packing.h"
#include "core/ops/attention.h"

namespace photon::cuda {

ops::AttentionForwardFn WindowForward;
ops::AttentionBackwardFn WindowBackward;

}  // namespace photon::cuda
