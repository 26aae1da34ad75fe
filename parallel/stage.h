// What a pipeline runs: the pieces of a model that a rank has. They neither know their neighbours nor are known by
// them.
//
// The trainer drives one through the same three calls with one rank as a pipeline does with many: forward of a
// microbatch, backward of it, and (where a schedule splits them off) its weight gradients.
//
// A collective that fails inside a stage ends the job (Communicator::Abort), with a message: in the middle of a step
// there is nothing to go back to, and the other ranks wait inside theirs.
#pragma once

#include <vector>

#include "core/tensor.h"

namespace photon {

class Stage {
 public:
  virtual ~Stage() = default;

  // What goes between segments: [edge][tensor], the edges in the order of pipeline::Layout::incoming(segment) or
  // outgoing(segment). A whole model has none.
  using Values = std::vector<std::vector<Tensor>>;

  // Microbatches are numbered within a step; of a segment they come in ascending order, and several may be between
  // Forward and Backward. `last`: the segment's weight gradients of this microbatch are its last of the step on this
  // rank, so that gradient-complete hooks fire. (A rank that has no microbatch of a segment, in a pipeline of form
  // ENCODERS with few of them, gets no such call.) Inputs: the values that come in; returns those that go out, which
  // nobody may write later.
  virtual Values Forward(int microbatch, int segment, Values inputs, bool last) = 0;
  // Gradients of what Forward returned, in: the sum over all readers; empty for an edge that nobody differentiates.
  // Gradients of its inputs, out: a tensor may be empty where none arrived, and those of inputs that this segment
  // doesn't differentiate are not looked at. With `split_weights` the weight gradients wait for WeightGradients().
  virtual Values Backward(int microbatch, int segment, Values output_gradients, bool split_weights) = 0;
  virtual void WeightGradients(int microbatch, int segment) = 0;
};

}  // namespace photon
