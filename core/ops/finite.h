// How many elements of a tensor are no finite numbers.
#pragma once

#include "core/context.h"

namespace photon::ops {

// counts[0] += the number of NaNs in x, counts[1] += that of infinities.
//   x floating, contiguous or a matrix whose rows may be strided; counts i64 [2], contiguous.
using CountNonFiniteFn = void(const Context& context, const Tensor& x, const Tensor& counts);
CountNonFiniteFn CountNonFinite;

}  // namespace photon::ops
