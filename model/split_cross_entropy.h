// Cross-entropy where every rank of a group has the logits of its part of the vocabulary.
#pragma once

#include "core/tape.h"
#include "parallel/communicator.h"

namespace photon {

// A sink, as ops::CrossEntropy is: writes nll and, while recording, contributes the gradient of sum_i scale[i] nll[i]
// to the logits, in whose memory it is written. Never are all logits of a row on one rank: three numbers a row and rank
// go round.
//   logits [N, V / ranks], the same N rows on all ranks; target i32 [N]: columns of this rank, -1 where the target is
//   not here; scored i32 [N]: -1 where the row scores nothing; scale [N] of the loss's type, or undefined.
//   nll [N], or [N / ranks] where each rank wants the rows of its own: then rank r gets the r-th part.
void SplitCrossEntropy(Tape& tape, Communicator& group, const Var& logits, const Tensor& target, const Tensor& scored,
                       const Tensor& scale, const Tensor& nll);

}  // namespace photon
