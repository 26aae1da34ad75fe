// Softmax cross-entropy, one block a row. Bytes with gradient: the logits read once and written once, the floor: the
// part of a row that fits stays in shared memory (50,257 f32 or 113,000 bf16 logits on a chip with 227 KB), the rest of
// it is read a second time, from the second-level cache. Without gradient: read once. Rows without a target are written
// only.
#include "core/cuda/kernels.h"
#include "core/cuda/softmax_row.h"
#include "core/cuda/warp.h"

namespace photon::cuda {
namespace {

// kept: vectors of a row that shared memory holds; 0 where no gradient is wanted.
template <typename T, int N, bool kGradient>
__global__ void __launch_bounds__(kMostRowThreads)
    CrossEntropyKernel(T* logits, int64_t width, const int32_t* targets, const AccumulateType<T>* scales,
                       AccumulateType<T>* nll, int kept) {
  using A = AccumulateType<T>;
  __shared__ A scratch[2][kWarp];
  const int64_t i = blockIdx.x;
  T* const data = logits + i * width;
  SoftmaxRow<T, N> row(data, width, kept);
  const int32_t target = targets[i];
  if (target == -1) {
    if (threadIdx.x == 0) nll[i] = 0;
    if constexpr (kGradient) row.Clear();
    return;
  }
  const bool possible = target >= 0 && target < width;
  const A chosen = possible ? static_cast<A>(data[target]) : std::numeric_limits<A>::quiet_NaN();
  const RunningSum<A> own = row.template Read<kGradient>();
  const A max = BlockMax(own.max, scratch[0]);
  const A sum = BlockSum(own.sum * Exponential(own.max - max), scratch[1]);
  const A loss = max - chosen + log(sum);
  if (threadIdx.x == 0) nll[i] = loss;
  if constexpr (kGradient) {
    row.Overwrite(max, scales[i] / sum);
    __syncthreads();
    // p - 1 without cancellation where p is near 1.
    if (threadIdx.x == 0 && possible) data[target] = T(scales[i] * expm1(-loss));
  }
}

template <typename T, bool kGradient>
void RunRows(const Context& context, const Tensor& logits, const Tensor& target, const Tensor& scale,
             const Tensor& nll) {
  using A = AccumulateType<T>;
  constexpr int N = kVector<T>;
  constexpr size_t kStatic = 2 * kWarp * sizeof(A);
  const int64_t width = logits.dim(1), vectors = width / N;
  const auto room = static_cast<int64_t>(QueueOf(context).shared_per_block - kStatic);
  const int kept = kGradient ? static_cast<int>(std::min<int64_t>(vectors, room / kAccess)) : 0;
  // Where a multiprocessor holds one row at a time, by all threads that it can have; else by half of them.
  const int most = int64_t{kept} * kAccess * 2 > room ? kMostRowThreads : kMostRowThreads / 2;
  Launch(context, "cross_entropy", CrossEntropyKernel<T, N, kGradient>, static_cast<unsigned>(logits.dim(0)),
         RowThreads(vectors, most), static_cast<size_t>(kept) * kAccess, logits.data<T>(), width,
         target.data<int32_t>(), kGradient ? scale.data<A>() : nullptr, nll.data<A>(), kept);
}

}  // namespace

void CrossEntropyForward(const Context& context, const Tensor& logits, const Tensor& target, const Tensor& scale,
                         const Tensor& nll) {
  if (logits.elements() == 0) return;
  VisitFloat(logits.dtype(), [&](auto tag) {
    using T = decltype(tag);
    scale.defined() ? RunRows<T, true>(context, logits, target, scale, nll)
                    : RunRows<T, false>(context, logits, target, scale, nll);
  });
}

}  // namespace photon::cuda
