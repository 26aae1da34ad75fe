#include "core/ops/cross_entropy.h"

#include "core/backend.h"
#include "core/ops/checks.h"

namespace photon::ops {

void CrossEntropyForward(const Context& context, const Tensor& logits, const Tensor& target, const Tensor& scale,
                         const Tensor& nll) {
  const DType type = logits.dtype() == DType::kF64 ? DType::kF64 : DType::kF32;
  const auto is_column = [&](const Tensor& t, DType dtype) {
    return t.defined() && t.shape() == Shape{logits.dim(0)} && t.contiguous() && t.dtype() == dtype;
  };
  PHOTON_CHECK(logits.rank() == 2 && logits.contiguous() && IsFloating(logits) && is_column(target, DType::kI32) &&
               is_column(nll, type) && (!scale.defined() || is_column(scale, type)))
      << "[cross_entropy] logits " << logits.ToString() << ", target " << target.ToString() << ", scale "
      << scale.ToString() << ", nll " << nll.ToString() << ": want [N, V] floating, [N] i32, [N] and [N] " << Name(type)
      << ", contiguous";
  context.backend().cross_entropy(context, logits, target, scale, nll);
}

void CrossEntropy(Tape& tape, const Var& logits, const Tensor& target, const Tensor& scale, const Tensor& nll) {
  const Context& context = tape.context();
  const bool record = tape.recording() && logits.needs_gradient() && scale.defined();
  CrossEntropyForward(context, logits.value, target, record ? scale : Tensor(), nll);
  if (!record) return;
  tape.Record("cross_entropy", [&context, gradient = logits.value, slot = logits.slot]() mutable {
    slot->Accumulate(context, std::move(gradient));
  });
}

}  // namespace photon::ops
