// Rows of vectors and ids on their way between host and device.
#pragma once

#include <vector>

#include "absl/types/span.h"
#include "core/context.h"
#include "inference/step.h"

namespace photon {

// Row index[i] of x [N, W], for every i: [n, W].
Step::Value PickRows(Step& step, const Context& context, Step::Value x, absl::Span<const int32_t> index);

// i32 [n] on the device.
Tensor UploadIds(const Context& context, absl::Span<const int32_t> ids);

// Elements of a contiguous floating tensor, on the host.
std::vector<double> ToHostDoubles(const Context& context, const Tensor& tensor);

}  // namespace photon
