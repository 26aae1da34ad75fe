// Counting what is no finite number. For checks, which wait after every operation: simple rather than fast.
#include "core/cuda/kernels.h"
#include "core/cuda/launch.h"
#include "core/cuda/vector.h"
#include "core/cuda/warp.h"

namespace photon::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kBlocksPerMultiprocessor = 4;

// counts[0] += NaNs, counts[1] += infinities; integers, so that the order of the additions is no matter.
template <typename T>
__global__ void __launch_bounds__(kThreads)
    CountNonFiniteKernel(const T* x, int64_t stride, int64_t rows, int64_t width, unsigned long long* counts) {
  unsigned long long nans = 0, infinities = 0;
  for (RowWalk walk = ThreadsWalk(width); walk.row() < rows; walk.Advance()) {
    const auto value = static_cast<AccumulateType<T>>(x[walk.row() * stride + walk.item()]);
    const bool nan = value != value;
    nans += nan;
    infinities += !nan && value - value != 0;
  }
  nans = WarpSum(nans);
  infinities = WarpSum(infinities);
  if (threadIdx.x % kWarp != 0) return;
  if (nans > 0) atomicAdd(counts, nans);
  if (infinities > 0) atomicAdd(counts + 1, infinities);
}

}  // namespace

void CountNonFinite(const Context& context, const Tensor& x, const Tensor& counts) {
  const bool flat = x.contiguous();
  const int64_t rows = flat ? 1 : x.dim(0), width = flat ? x.elements() : x.dim(1), stride = flat ? width : x.stride(0);
  VisitFloat(x.dtype(), [&](auto tag) {
    using T = decltype(tag);
    Launch(context, "count_non_finite", CountNonFiniteKernel<T>,
           StrideGrid(context, x.elements(), kThreads, kBlocksPerMultiprocessor), kThreads, 0, x.data<T>(), stride,
           rows, width, reinterpret_cast<unsigned long long*>(counts.data<int64_t>()));
  });
}

}  // namespace photon::cuda
