#include "core/cpu/kernels.h"

namespace photon {

const Backend& CpuBackend() {
  static const Backend kBackend = {
      .copy_to_host = cpu::CopyToHost,
      .copy_from_host = cpu::CopyFromHost,
      .synchronize = cpu::Synchronize,
      .zero = cpu::Zero,
      .matmul = cpu::MatMul,
      .cast = cpu::Cast,
      .add = cpu::Add,
      .sum_rows = cpu::SumRows,
      .select_rows = cpu::SelectRows,
      .select_rows_gradient = cpu::SelectRowsGradient,
      .gather_rows = cpu::GatherRows,
      .scatter_rows = cpu::ScatterRows,
      .rms_norm_forward = cpu::RmsNormForward,
      .rms_norm_backward = cpu::RmsNormBackward,
      .rope = cpu::Rope,
      .attention_forward = cpu::AttentionForward,
      .attention_backward = cpu::AttentionBackward,
      .append_to_caches = cpu::AppendToCaches,
      .copy_cache = cpu::CopyCache,
      .cached_attention = cpu::CachedAttention,
      .swiglu_forward = cpu::SwiGluForward,
      .swiglu_backward = cpu::SwiGluBackward,
      .cross_entropy = cpu::CrossEntropyForward,
      .vocabulary_statistics = cpu::VocabularyStatistics,
      .split_cross_entropy = cpu::SplitCrossEntropy,
      .cosine = cpu::CosineForward,
      .sample_rows = cpu::SampleRows,
      .sum_squares = cpu::SumSquares,
      .accumulate_sum = cpu::AccumulateSum,
      .clip = cpu::Clip,
      .adamw = cpu::AdamW,
      .count_non_finite = cpu::CountNonFinite,
  };
  return kBackend;
}

}  // namespace photon
