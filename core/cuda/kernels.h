// CUDA's implementations of core/backend.h, one file an operation.
#pragma once

#include "core/backend.h"

namespace photon::cuda {

ops::CopyToHostFn CopyToHost;
ops::CopyFromHostFn CopyFromHost;
ops::SynchronizeFn Synchronize;
ops::ZeroFn Zero;
ops::MatMulFn MatMul;
ops::CastFn Cast;
ops::AddFn Add;
ops::SumRowsFn SumRows;
ops::SelectRowsFn SelectRows;
ops::SelectRowsGradientFn SelectRowsGradient;
ops::GatherRowsFn GatherRows;
ops::ScatterRowsFn ScatterRows;
ops::RmsNormForwardFn RmsNormForward;
ops::RmsNormBackwardFn RmsNormBackward;
ops::RopeFn Rope;
ops::AttentionForwardFn AttentionForward;
ops::AttentionBackwardFn AttentionBackward;
ops::AppendToCachesFn AppendToCaches;
ops::CopyCacheFn CopyCache;
ops::CachedAttentionFn CachedAttention;
ops::SwiGluForwardFn SwiGluForward;
ops::SwiGluBackwardFn SwiGluBackward;
ops::CrossEntropyForwardFn CrossEntropyForward;
ops::VocabularyStatisticsFn VocabularyStatistics;
ops::SplitCrossEntropyFn SplitCrossEntropy;
ops::CosineForwardFn CosineForward;
ops::SampleRowsFn SampleRows;
ops::SumSquaresFn SumSquares;
ops::AccumulateSumFn AccumulateSum;
ops::ClipFn Clip;
ops::AdamWFn AdamW;
ops::CountNonFiniteFn CountNonFinite;

}  // namespace photon::cuda
