// Rows that lie anywhere, one by one: the states of sequences that are decoded together. Where they lie is read on the
// device.
#pragma once

#include "core/context.h"

namespace photon::ops {

// out[i] = the row at addresses[i]; rows of several sequences brought together. addresses i64 [N], each of W contiguous
// elements of out's type on the context's device; out [N, W] floating, contiguous.
using GatherRowsFn = void(const Context& context, const Tensor& addresses, const Tensor& out);
// The other way: the row at addresses[i] = in[i]. No two rows may overlap.
using ScatterRowsFn = void(const Context& context, const Tensor& in, const Tensor& addresses);
GatherRowsFn GatherRows;
ScatterRowsFn ScatterRows;

}  // namespace photon::ops
