#include "model/split_cross_entropy.h"

#include <utility>

#include "core/ops/elementwise.h"
#include "core/ops/split_cross_entropy.h"
#include "parallel/tape_collectives.h"

namespace photon {

void SplitCrossEntropy(Tape& tape, Communicator& group, const Var& logits, const Tensor& target, const Tensor& scored,
                       const Tensor& scale, const Tensor& nll) {
  const Context& context = tape.context();
  const int64_t rows = logits.value.dim(0), own = nll.dim(0);
  const Tensor stats = context.Empty({rows, 3}, nll.dtype());
  ops::VocabularyStatistics(context, logits.value, target, stats);
  const Tensor all = context.Empty({group.size(), rows, 3}, nll.dtype());
  OrAbort(group, group.AllGather("statistics of logits", stats, all));

  const bool record = tape.recording() && logits.needs_gradient() && scale.defined();
  const Tensor losses = own == rows ? nll : context.Empty({rows}, nll.dtype());
  ops::SplitCrossEntropy(context, logits.value, target, scored, all, record ? scale : Tensor(), losses);
  if (own != rows) ops::Cast(context, losses.Rows(group.rank() * own, (group.rank() + 1) * own), nll);
  if (!record) return;
  tape.Record("split_cross_entropy", [&context, gradient = logits.value, slot = logits.slot]() mutable {
    slot->Accumulate(context, std::move(gradient));
  });
}

}  // namespace photon
