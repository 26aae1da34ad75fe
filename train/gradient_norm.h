// The sum of squares of a step's gradients, over all ranks, on the device.
//
// Every element of the model counts once: what several ranks hold, one of them counts. Ranks that hold other elements
// (split, on another pipeline stage, or another shard) add theirs, and so all ranks get the same bits, from which each
// decides alone whether and how to update.
#pragma once

#include <vector>

#include "core/parameter.h"
#include "parallel/mesh.h"

namespace photon {

class GradientNorm {
 public:
  // The set must be allocated, with gradients, and outlive this, as the mesh must.
  GradientNorm(const Context& context, const ParameterSet& parameters, const Mesh& mesh);

  // Queues the sum over the gradients as they lie in the set (reduce them first). Collective, unless local().
  absl::Status Compute();
  // f64 [1].
  const Tensor& square_sum() const { return square_sum_; }
  // Every rank has all of the model: none asks another.
  bool local() const { return group_ == nullptr; }

 private:
  const Context& context_;
  std::vector<Tensor> parts_;  // that this rank counts
  Tensor sums_;                // of each
  Tensor square_sum_;
  Communicator* group_ = nullptr;  // the ranks that hold other elements
};

}  // namespace photon
