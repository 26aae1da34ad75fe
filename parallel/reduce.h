// The arithmetic of reductions, shared by all communicators that compute on the CPU.
#pragma once

#include <cstdint>

#include "absl/types/span.h"
#include "core/dtype.h"
#include "parallel/communicator.h"

namespace photon {

// out[i] = inputs[0][i] op inputs[1][i] op ..., in that order, for arrays of `count` elements. `out` may be one of the
// inputs. bf16 is summed in f32 and rounded once; integers wrap; NaN wins over any number in kMax and kMin.
void Reduce(DType dtype, Reduction op, absl::Span<const void* const> inputs, int64_t count, void* out);

}  // namespace photon
