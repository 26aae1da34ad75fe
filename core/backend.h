// The list of operations: what a device must implement. One entry an operation; its contract is in core/ops/.
//
// core/ops/x.cc checks shapes and dtypes once for all devices, then calls through this table; core/cpu/x.cc and
// core/cuda/x.cu may assume what was checked. The CUDA table lives in a module of its own, loaded only where a driver
// is.
#pragma once

#include "core/ops/adamw.h"
#include "core/ops/attention.h"
#include "core/ops/cached_attention.h"
#include "core/ops/cosine.h"
#include "core/ops/cross_entropy.h"
#include "core/ops/elementwise.h"
#include "core/ops/finite.h"
#include "core/ops/matmul.h"
#include "core/ops/memory.h"
#include "core/ops/reduce.h"
#include "core/ops/rms_norm.h"
#include "core/ops/rope.h"
#include "core/ops/row_addresses.h"
#include "core/ops/rows.h"
#include "core/ops/sample.h"
#include "core/ops/split_cross_entropy.h"
#include "core/ops/swiglu.h"

namespace photon {

struct Backend {
  // memory
  ops::CopyToHostFn* copy_to_host;
  ops::CopyFromHostFn* copy_from_host;
  ops::SynchronizeFn* synchronize;
  ops::ZeroFn* zero;
  // matrix products
  ops::MatMulFn* matmul;
  // element-wise
  ops::CastFn* cast;
  ops::AddFn* add;
  ops::SumRowsFn* sum_rows;
  // rows
  ops::SelectRowsFn* select_rows;
  ops::SelectRowsGradientFn* select_rows_gradient;
  ops::GatherRowsFn* gather_rows;
  ops::ScatterRowsFn* scatter_rows;
  // layers
  ops::RmsNormForwardFn* rms_norm_forward;
  ops::RmsNormBackwardFn* rms_norm_backward;
  ops::RopeFn* rope;
  ops::AttentionForwardFn* attention_forward;
  ops::AttentionBackwardFn* attention_backward;
  ops::AppendToCachesFn* append_to_caches;
  ops::CopyCacheFn* copy_cache;
  ops::CachedAttentionFn* cached_attention;
  ops::SwiGluForwardFn* swiglu_forward;
  ops::SwiGluBackwardFn* swiglu_backward;
  // losses
  ops::CrossEntropyForwardFn* cross_entropy;
  ops::VocabularyStatisticsFn* vocabulary_statistics;
  ops::SplitCrossEntropyFn* split_cross_entropy;
  ops::CosineForwardFn* cosine;
  // sampling
  ops::SampleRowsFn* sample_rows;
  // optimizer
  ops::SumSquaresFn* sum_squares;
  ops::AccumulateSumFn* accumulate_sum;
  ops::ClipFn* clip;
  ops::AdamWFn* adamw;
  // checks
  ops::CountNonFiniteFn* count_non_finite;
};

// The CPU's table; always there.
const Backend& CpuBackend();

}  // namespace photon
