#include "core/cuda/backend.h"

#include "core/cuda/kernels.h"

namespace photon::cuda {

const Backend& CudaBackend() {
  static const Backend kBackend = {
      .copy_to_host = CopyToHost,
      .copy_from_host = CopyFromHost,
      .synchronize = Synchronize,
      .zero = Zero,
      .matmul = MatMul,
      .cast = Cast,
      .add = Add,
      .sum_rows = SumRows,
      .select_rows = SelectRows,
      .select_rows_gradient = SelectRowsGradient,
      .gather_rows = GatherRows,
      .scatter_rows = ScatterRows,
      .rms_norm_forward = RmsNormForward,
      .rms_norm_backward = RmsNormBackward,
      .rope = Rope,
      .attention_forward = AttentionForward,
      .attention_backward = AttentionBackward,
      .append_to_caches = AppendToCaches,
      .copy_cache = CopyCache,
      .cached_attention = CachedAttention,
      .swiglu_forward = SwiGluForward,
      .swiglu_backward = SwiGluBackward,
      .cross_entropy = CrossEntropyForward,
      .vocabulary_statistics = VocabularyStatistics,
      .split_cross_entropy = SplitCrossEntropy,
      .cosine = CosineForward,
      .sample_rows = SampleRows,
      .sum_squares = SumSquares,
      .accumulate_sum = AccumulateSum,
      .clip = Clip,
      .adamw = AdamW,
      .count_non_finite = CountNonFinite,
  };
  return kBackend;
}

}  // namespace photon::cuda
