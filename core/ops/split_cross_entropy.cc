#include "core/ops/split_cross_entropy.h"

#include "core/backend.h"
#include "core/ops/checks.h"

namespace photon::ops {
namespace {

constexpr int64_t kStatistics = 3;

DType Wide(DType dtype) { return dtype == DType::kF64 ? DType::kF64 : DType::kF32; }

bool IsContiguous(const Tensor& t, const Shape& shape, DType dtype) {
  return t.defined() && t.shape() == shape && t.contiguous() && t.dtype() == dtype;
}

bool AreLogits(const Tensor& logits, const Tensor& target) {
  return logits.rank() == 2 && logits.contiguous() && IsFloating(logits) &&
         IsContiguous(target, {logits.dim(0)}, DType::kI32);
}

}  // namespace

void VocabularyStatistics(const Context& context, const Tensor& logits, const Tensor& target, const Tensor& stats) {
  PHOTON_CHECK(AreLogits(logits, target) && IsContiguous(stats, {logits.dim(0), kStatistics}, Wide(logits.dtype())))
      << "[vocabulary_statistics] logits " << logits.ToString() << ", target " << target.ToString() << ", stats "
      << stats.ToString() << ": want [N, V] floating, [N] i32, [N, 3] " << Name(Wide(logits.dtype())) << ", contiguous";
  context.backend().vocabulary_statistics(context, logits, target, stats);
}

void SplitCrossEntropy(const Context& context, const Tensor& logits, const Tensor& target, const Tensor& scored,
                       const Tensor& stats, const Tensor& scale, const Tensor& nll) {
  const DType type = Wide(logits.dtype());
  PHOTON_CHECK(AreLogits(logits, target) && IsContiguous(scored, target.shape(), DType::kI32) && stats.rank() == 3 &&
               stats.dim(0) >= 1 && IsContiguous(stats, {stats.dim(0), logits.dim(0), kStatistics}, type) &&
               IsContiguous(nll, target.shape(), type) &&
               (!scale.defined() || IsContiguous(scale, target.shape(), type)))
      << "[split_cross_entropy] logits " << logits.ToString() << ", target " << target.ToString() << ", scored "
      << scored.ToString() << ", stats " << stats.ToString() << ", scale " << scale.ToString() << ", nll "
      << nll.ToString() << ": want [N, V] floating, [N] and [N] i32, [parts, N, 3], [N] and [N] " << Name(type)
      << ", contiguous";
  context.backend().split_cross_entropy(context, logits, target, scored, stats, scale, nll);
}

}  // namespace photon::ops
