// Parameters to and from checkpoints, whatever the layout of either.
#pragma once

#include <string>

#include "checkpoint/store.h"
#include "core/parameter.h"

namespace photon {

// Fills `tensor` (on any device, contiguous) with `region` of the checkpoint's tensor `name`. kFailedPrecondition where
// the checkpoint has no such tensor or gives it another global shape: it is another model's. f32 and f64 fill each
// other.
absl::Status LoadTensor(const CheckpointReader& reader, const Context& context, const std::string& name,
                        const Shape& global_shape, const Region& region, const Tensor& tensor);

// Fills the masters of every parameter, or what this rank keeps of them, and the compute copies. The set must be
// allocated.
absl::Status LoadParameters(const CheckpointReader& reader, const Context& context, ParameterSet& parameters);

}  // namespace photon
