// Cross-entropy of a split vocabulary, one block a row. Bytes: the statistics read the logits once, the gradient reads
// and writes them once more. Between the two lies a collective: nothing stays on the chip.
#include "core/cuda/kernels.h"
#include "core/cuda/softmax_row.h"
#include "core/cuda/warp.h"

namespace photon::cuda {
namespace {

constexpr int kThreads = kMostRowThreads / 2;  // a multiprocessor holds several rows at a time

// Of one row, as gathered.
template <typename A>
struct Statistics {
  A largest, sum, chosen;
};

template <typename T, int N>
__global__ void __launch_bounds__(kThreads)
    StatisticsKernel(T* logits, int64_t width, const int32_t* targets, Statistics<AccumulateType<T>>* stats) {
  using A = AccumulateType<T>;
  __shared__ A scratch[2][kWarp];
  const int64_t i = blockIdx.x;
  T* const data = logits + i * width;
  const RunningSum<A> own = SoftmaxRow<T, N>(data, width).template Read<false>();
  const A max = BlockMax(own.max, scratch[0]);
  const A sum = BlockSum(own.sum * Exponential(own.max - max), scratch[1]);
  if (threadIdx.x != 0) return;
  const int32_t target = targets[i];
  const bool possible = target >= 0 && target < width;
  const A elsewhere = target == -1 ? A(0) : std::numeric_limits<A>::quiet_NaN();
  stats[i] = {max, sum, possible ? static_cast<A>(data[target]) : elsewhere};
}

// All parts as one, by a warp: every lane takes each 32nd part, then they are added up as a tree. The same bits on
// every rank.
template <typename A>
__device__ __forceinline__ Statistics<A> Combined(const Statistics<A>* parts, int count, int64_t rows, int64_t row) {
  const int lane = threadIdx.x % kWarp;
  A largest = std::numeric_limits<A>::lowest(), sum = 0, chosen = 0;
  for (int p = lane; p < count; p += kWarp) largest = fmax(largest, parts[p * rows + row].largest);
  largest = WarpMax(largest);
  for (int p = lane; p < count; p += kWarp) {
    const Statistics<A> part = parts[p * rows + row];
    sum += part.sum * Exponential(part.largest - largest);
    chosen += part.chosen;
  }
  return {largest, WarpSum(sum), WarpSum(chosen)};
}

template <typename T, int N, bool kGradient>
__global__ void __launch_bounds__(kThreads)
    SplitCrossEntropyKernel(T* logits, int64_t width, const int32_t* targets, const int32_t* scored,
                            const Statistics<AccumulateType<T>>* parts, int count, const AccumulateType<T>* scales,
                            AccumulateType<T>* nll) {
  using A = AccumulateType<T>;
  const int64_t i = blockIdx.x;
  T* const data = logits + i * width;
  const SoftmaxRow<T, N> row(data, width);
  if (scored[i] == -1) {
    if (threadIdx.x == 0) nll[i] = 0;
    if constexpr (kGradient) row.Clear();
    return;
  }
  const Statistics<A> all = Combined(parts, count, gridDim.x, i);  // by every warp: none waits
  const A loss = all.largest - all.chosen + log(all.sum);
  if (threadIdx.x == 0) nll[i] = loss;
  if constexpr (kGradient) {
    row.Overwrite(all.largest, scales[i] / all.sum);
    __syncthreads();
    // p - 1 without cancellation where p is near 1.
    const int32_t target = targets[i];
    if (threadIdx.x == 0 && target >= 0 && target < width) data[target] = T(scales[i] * expm1(-loss));
  }
}

}  // namespace

void VocabularyStatistics(const Context& context, const Tensor& logits, const Tensor& target, const Tensor& stats) {
  VisitFloat(logits.dtype(), [&](auto tag) {
    using T = decltype(tag);
    using A = AccumulateType<T>;
    constexpr int N = kVector<T>;
    const int64_t width = logits.dim(1);
    Launch(context, "vocabulary_statistics", StatisticsKernel<T, N>, static_cast<unsigned>(logits.dim(0)),
           RowThreads(width / N, kThreads), 0, logits.data<T>(), width, target.data<int32_t>(),
           reinterpret_cast<Statistics<A>*>(stats.data<A>()));
  });
}

void SplitCrossEntropy(const Context& context, const Tensor& logits, const Tensor& target, const Tensor& scored,
                       const Tensor& stats, const Tensor& scale, const Tensor& nll) {
  VisitFloat(logits.dtype(), [&](auto tag) {
    using T = decltype(tag);
    using A = AccumulateType<T>;
    constexpr int N = kVector<T>;
    const int64_t width = logits.dim(1);
    const auto launch = [&](auto kernel, unsigned threads) {
      Launch(context, "split_cross_entropy", kernel, static_cast<unsigned>(logits.dim(0)), threads, 0, logits.data<T>(),
             width, target.data<int32_t>(), scored.data<int32_t>(),
             reinterpret_cast<const Statistics<A>*>(stats.data<A>()), static_cast<int>(stats.dim(0)),
             DataOrNull<A>(scale), nll.data<A>());
    };
    if (scale.defined()) {
      launch(SplitCrossEntropyKernel<T, N, true>, RowThreads(width / N, kThreads));
    } else {
      launch(SplitCrossEntropyKernel<T, N, false>, unsigned{kWarp});
    }
  });
}

}  // namespace photon::cuda
