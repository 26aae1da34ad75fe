// The CPU's implementations of core/backend.h, one file an operation.
#pragma once

#include "core/backend.h"

namespace photon::cpu {

#define W __attribute__((weak))
W ops::CopyToHostFn CopyToHost;
W ops::CopyFromHostFn CopyFromHost;
W ops::SynchronizeFn Synchronize;
W ops::ZeroFn Zero;
W ops::MatMulFn MatMul;
W ops::CastFn Cast;
W ops::AddFn Add;
W ops::SumRowsFn SumRows;
W ops::SelectRowsFn SelectRows;
W ops::SelectRowsGradientFn SelectRowsGradient;
W ops::RmsNormForwardFn RmsNormForward;
W ops::RmsNormBackwardFn RmsNormBackward;
W ops::RopeFn Rope;
W ops::AttentionForwardFn AttentionForward;
W ops::AttentionBackwardFn AttentionBackward;
W ops::CachedAttentionFn CachedAttention;
W ops::SwiGluForwardFn SwiGluForward;
W ops::SwiGluBackwardFn SwiGluBackward;
W ops::CrossEntropyForwardFn CrossEntropyForward;
W ops::CosineForwardFn CosineForward;
W ops::SumSquaresFn SumSquares;
W ops::AdamWFn AdamW;
#undef W

}  // namespace photon::cpu
