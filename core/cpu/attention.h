// The two regimes of attention on the CPU. Arguments as in core/ops/attention.h.
#pragma once

#include "core/context.h"
#include "core/cpu/simd.h"
#include "core/ops/attention.h"

namespace photon::cpu {

// Windows, whole sequences of at most one vector of rows, live in registers and the first-level cache. Longer ones, and
// rows against other keys than their own, go through blocks of keys.
inline bool IsWindow(const ops::AttentionShape& shape, DType dtype) {
  return shape.keys_are_rows() && shape.length <= (dtype == DType::kF64 ? kLanes<double> : kLanes<float>);
}

ops::AttentionForwardFn WindowForward;
ops::AttentionBackwardFn WindowBackward;
ops::AttentionForwardFn StreamForward;
ops::AttentionBackwardFn StreamBackward;

}  // namespace photon::cpu
