// Softmax cross-entropy over a vocabulary whose columns are split over ranks (Shoeybi et al. 2019, section 3): three
// numbers a row cross between them, never logits.
//
// Each rank finds the statistics of its columns; they are gathered; each rank computes from all of them the loss, the
// same bits everywhere, and the gradient of its own columns. Up to rounding the results are those of
// CrossEntropyForward on all columns, NaN and infinities among the logits included.
#pragma once

#include "core/context.h"

namespace photon::ops {

// stats[i] = {largest, sum over j of exp(logits[i][j] - largest), logits[i][target[i]]}, in f32 (f64).
//   logits [N, V] floating, contiguous: this rank's columns, of which there may be none; target i32 [N]: a column, or
//   -1 where the target is another rank's or the row scores nothing: then the third is 0, so that the parts' sum is the
//   target's logit; stats [N, 3] f32 (f64), contiguous.
// Without columns, or with -inf alone, `largest` is the type's lowest finite number and the sum 0. A NaN or +inf among
// the logits makes the sum NaN.
// Another target ends the process on the CPU; on a GPU the third number is NaN.
using VocabularyStatisticsFn = void(const Context& context, const Tensor& logits, const Tensor& target,
                                    const Tensor& stats);
// nll[i] = -log softmax[target], over the columns of all parts. Where `scale` is defined, logits are overwritten with
// scale[i] * (softmax - onehot(target[i])) of this rank's columns.
//   stats [parts, N, 3]: of all ranks, in their order, contiguous; logits, target: as they were for this rank's part;
//   scored i32 [N]: -1 where the row scores nothing (nll 0, gradient 0), anything else where it does: the targets among
//   all columns will do; scale [N] f32 (f64) or undefined; nll [N] f32 (f64).
using SplitCrossEntropyFn = void(const Context& context, const Tensor& logits, const Tensor& target,
                                 const Tensor& scored, const Tensor& stats, const Tensor& scale, const Tensor& nll);
VocabularyStatisticsFn VocabularyStatistics;
SplitCrossEntropyFn SplitCrossEntropy;

}  // namespace photon::ops
