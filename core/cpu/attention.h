// The two regimes of attention on the CPU. Arguments as in core/ops/attention.h.
#pragma once

#include "core/context.h"
#include "core/cpu/simd.h"
#include "core/ops/attention.h"

namespace photon::cpu {

// Windows, whole sequences of at most this many rows, live in registers and the first-level cache: per-row numbers fill
// one vector. Longer ones go through blocks of keys.
inline int64_t LongestWindow(DType dtype) { return dtype == DType::kF64 ? kLanes<double> : kLanes<float>; }

ops::AttentionForwardFn WindowForward;
ops::AttentionBackwardFn WindowBackward;
ops::AttentionForwardFn StreamForward;
ops::AttentionBackwardFn StreamBackward;

}  // namespace photon::cpu
