// The kernels of attention over long streams. Arguments as in core/ops/attention.h; core/cuda/attention.cu chooses.
#pragma once

#include "core/ops/attention.h"

namespace photon::cuda {

// On tensor cores, for heads of at most kWidestMmaHead elements of bf16.
inline constexpr int64_t kWidestMmaHead = 128;
ops::AttentionForwardFn StreamForwardMma;
ops::AttentionBackwardFn StreamBackwardMma;

// The same by Hopper's warpgroups; the backward pass for heads of at most kWidestWarpgroupBackward.
inline constexpr int64_t kWidestWarpgroupBackward = 64;
ops::AttentionForwardFn StreamForwardWarpgroup;
ops::AttentionBackwardFn StreamBackwardWarpgroup;

// Any type and width: for f32 and f64, and wide heads.
ops::AttentionForwardFn StreamForwardPlain;
ops::AttentionBackwardFn StreamBackwardPlain;

// dots [heads, batch * length] f32 (f64): dout . out of each row and head.
void OutputDots(const Context& context, const Tensor& dout, const Tensor& out, const ops::AttentionShape& shape,
                const Tensor& dots);

}  // namespace photon::cuda
