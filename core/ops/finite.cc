#include "core/ops/finite.h"

#include "core/backend.h"
#include "core/ops/checks.h"

namespace photon::ops {

void CountNonFinite(const Context& context, const Tensor& x, const Tensor& counts) {
  PHOTON_CHECK(x.defined() && IsFloating(x) && (x.contiguous() || IsMatrix(x)) && counts.defined() &&
               counts.shape() == Shape{2} && counts.dtype() == DType::kI64 && counts.contiguous())
      << "[count_non_finite] x " << x.ToString() << ", counts " << counts.ToString();
  if (x.elements() > 0) context.backend().count_non_finite(context, x, counts);
}

}  // namespace photon::ops
