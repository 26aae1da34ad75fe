// Softmax cross-entropy, fused with its gradient.
#pragma once

#include "core/context.h"
#include "core/tape.h"

namespace photon::ops {

// nll[i] = -log softmax(logits[i])[target[i]], computed in f32 (f64). Where `scale` is defined, logits are then
// overwritten with scale[i] * (softmax(logits[i]) - onehot(target[i])): the gradient of sum_i scale[i] nll[i].
//   logits [N, V] floating, contiguous; target i32 [N] in [0, V), or -1: nll 0 and gradient 0;
//   scale [N] f32 (f64) or undefined; nll [N] f32 (f64).
// Another target ends the process on the CPU; on a GPU, where looking would mean waiting, its nll is NaN.
using CrossEntropyForwardFn = void(const Context& context, const Tensor& logits, const Tensor& target,
                                   const Tensor& scale, const Tensor& nll);
CrossEntropyForwardFn CrossEntropyForward;

// A sink: writes nll and, while recording, contributes the gradient of sum_i scale[i] nll[i] to the logits, in whose
// memory it is written: the logits can't be used afterwards. Where no gradient is wanted, or `scale` is undefined, the
// logits stay as they are.
void CrossEntropy(Tape& tape, const Var& logits, const Tensor& target, const Tensor& scale, const Tensor& nll);

}  // namespace photon::ops
