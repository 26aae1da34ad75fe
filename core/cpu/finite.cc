#include <atomic>
#include <cmath>

#include "core/cpu/kernels.h"
#include "core/cpu/parallel_for.h"

namespace photon::cpu {

void CountNonFinite(const Context&, const Tensor& x, const Tensor& counts) {
  const bool flat = x.contiguous();
  const int64_t rows = flat ? x.elements() : x.dim(0), width = flat ? 1 : x.dim(1), stride = flat ? 1 : x.stride(0);
  std::atomic<int64_t> nans = 0, infinities = 0;
  VisitFloat(x.dtype(), [&](auto tag) {
    using T = decltype(tag);
    ParallelFor(rows, RowGrain(width), [&](int64_t begin, int64_t end) {
      int64_t nan = 0, infinite = 0;
      for (int64_t i = begin; i < end; ++i) {
        for (int64_t j = 0; j < width; ++j) {
          const auto value = static_cast<AccumulateType<T>>(x.data<T>()[i * stride + j]);
          nan += std::isnan(value);
          infinite += std::isinf(value);
        }
      }
      nans += nan;
      infinities += infinite;
    });
  });
  counts.data<int64_t>()[0] += nans;
  counts.data<int64_t>()[1] += infinities;
}

}  // namespace photon::cpu
