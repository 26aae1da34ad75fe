// Vectors of several sequences brought together for one product, and handed back. On the context's device.
#pragma once

#include <vector>

#include "absl/types/span.h"
#include "core/context.h"

namespace photon {

// [sum of rows, W] of tensors [r_i, W] of one floating dtype. A single tensor is returned as it is.
Tensor JoinRows(const Context& context, absl::Span<const Tensor> parts);

// Row index[i] of x [N, W], for every i: [n, W].
Tensor PickRows(const Context& context, const Tensor& x, const std::vector<int32_t>& index);

// i32 [n] on the device.
Tensor UploadIds(const Context& context, absl::Span<const int32_t> ids);

// Elements of a contiguous floating tensor, on the host.
std::vector<double> ToHostDoubles(const Context& context, const Tensor& tensor);

}  // namespace photon
