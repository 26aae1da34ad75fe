// The kernels of attention over long streams. Arguments as in core/ops/attention.h.
//
// A kernel for newer tensor cores belongs beside these: it takes the same arguments, and core/cuda/attention.cu
// chooses.
#pragma once

#include "core/ops/attention.h"

namespace photon::cuda {

// On tensor cores, for heads of at most kWidestMmaHead elements of bf16.
inline constexpr int64_t kWidestMmaHead = 128;
ops::AttentionForwardFn StreamForwardMma;
ops::AttentionBackwardFn StreamBackwardMma;

// Any type and width: for f32 and f64, and wide heads.
ops::AttentionForwardFn StreamForwardPlain;
ops::AttentionBackwardFn StreamBackwardPlain;

// dots [heads, batch * length] f32 (f64): dout . out of each row and head.
void OutputDots(const Context& context, const Tensor& dout, const Tensor& out, const ops::AttentionShape& shape,
                const Tensor& dots);

}  // namespace photon::cuda
