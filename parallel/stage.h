// What a pipeline runs: a piece of a model that neither knows its neighbours nor is known by them.
//
// A collective that fails inside a stage ends the job (Communicator::Abort), with a message: in the middle of a step there
// is nothing to go back to, and the other ranks wait inside theirs.
//
// The trainer drives one through the same three calls with one stage as a pipeline does with many: forward of a
// microbatch, backward of it, and (where a schedule splits them off) its weight gradients.
#pragma once

#include <vector>

#include "core/tensor.h"

namespace photon {

class Stage {
 public:
  virtual ~Stage() = default;

  // Microbatches are numbered within a step; several may be between Forward and Backward. `last`: no later microbatch
  // of this step follows, so gradient-complete hooks fire. Inputs: the tensors that earlier stages send (none at the
  // first stage); returns what goes to later ones (none at the last).
  virtual std::vector<Tensor> Forward(int microbatch, std::vector<Tensor> inputs, bool last) = 0;
  // Gradients of what Forward returned, in; gradients of its inputs, out. With `split_weights` the weight gradients
  // wait for WeightGradients().
  virtual std::vector<Tensor> Backward(int microbatch, std::vector<Tensor> output_gradients, bool split_weights) = 0;
  virtual void WeightGradients(int microbatch) = 0;
};

}  // namespace photon
