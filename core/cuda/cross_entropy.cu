// Softmax cross-entropy, one block a row. Bytes with gradient: the logits read once and written once, the floor: the
// part of a row that fits stays in shared memory (50,257 f32 or 113,000 bf16 logits on a chip with 227 KB), the rest of
// it is read a second time, from the second-level cache. Without gradient: read once. Rows without a target are written
// only.
#include <cmath>
#include <limits>

#include "core/cuda/kernels.h"
#include "core/cuda/launch.h"
#include "core/cuda/vector.h"
#include "core/cuda/warp.h"

namespace photon::cuda {
namespace {

constexpr int kMostThreads = 1024;
constexpr int kUnroll = 4;  // vectors that a thread has in flight

// exp(x), x <= 0. The difference to the row's largest is taken before the factor: it is exact near 0.
__device__ __forceinline__ float Exponential(float x) { return Exp2(x * 1.44269504088896340736f); }
__device__ __forceinline__ double Exponential(double x) { return exp(x); }

// A row in the parts that it is accessed in: vectors of N from the first aligned address, single elements around them.
template <typename T, int N>
struct Row {
  __device__ Row(T* begin, int64_t width) : data(begin) {
    const int64_t misaligned = static_cast<int64_t>(reinterpret_cast<uintptr_t>(begin) / sizeof(T) % N);
    const int64_t head = min(width, misaligned == 0 ? int64_t{0} : N - misaligned);
    body = begin + head;
    vectors = static_cast<int>((width - head) / N);
    singles = static_cast<int>(width - int64_t{vectors} * N);
    this->head = static_cast<int>(head);
  }
  __device__ T* single(int i) const { return i < head ? data + i : body + int64_t{vectors} * N + (i - head); }

  T* data;
  T* body;
  int vectors, head, singles;
};

// The sum of exp(x - max) over what was added.
template <typename A>
struct RunningSum {
  A max = std::numeric_limits<A>::lowest();  // finite: -inf - -inf would be NaN
  A sum = 0;

  template <int N>
  __device__ __forceinline__ void Add(const A (&values)[N]) {
    A largest = values[0];
#pragma unroll
    for (int k = 1; k < N; ++k) largest = fmax(largest, values[k]);
    if (largest > max) {
      sum *= Exponential(max - largest);
      max = largest;
    }
    A terms = 0;  // apart from the sum: rounding errors grow with a vector's length plus the number of vectors
#pragma unroll
    for (int k = 0; k < N; ++k) terms += Exponential(values[k] - max);
    sum += terms;
  }
};

// kept: vectors of a row that shared memory holds; 0 where no gradient is wanted.
template <typename T, int N, bool kGradient>
__global__ void __launch_bounds__(kMostThreads)
    CrossEntropyKernel(T* logits, int64_t width, const int32_t* targets, const AccumulateType<T>* scales,
                       AccumulateType<T>* nll, int kept) {
  using A = AccumulateType<T>;
  __shared__ A scratch[2][kWarp];
  Raw<T, N>* held = DynamicShared<Raw<T, N>>();
  const int64_t i = blockIdx.x;
  const int thread = static_cast<int>(threadIdx.x), threads = static_cast<int>(blockDim.x);
  const Row<T, N> row(logits + i * width, width);
  const int32_t target = targets[i];
  if (target == -1) {
    if (thread == 0) nll[i] = 0;
    if constexpr (kGradient) {
      Raw<T, N> zeros;
      zeros.Pack({});
      for (int v = thread; v < row.vectors; v += threads) zeros.Store(row.body + int64_t{v} * N);
      if (thread < row.singles) *row.single(thread) = T(A(0));
    }
    return;
  }
  const bool possible = target >= 0 && target < width;
  const A chosen = possible ? static_cast<A>(row.data[target]) : std::numeric_limits<A>::quiet_NaN();

  RunningSum<A> own;
  A single = 0;
  if (thread < row.singles) {
    single = static_cast<A>(*row.single(thread));
    own.Add({single});
  }
  for (int first = thread; first < row.vectors; first += kUnroll * threads) {
    Raw<T, N> raw[kUnroll];
#pragma unroll
    for (int u = 0; u < kUnroll; ++u) {
      const int v = first + u * threads;
      if (v < row.vectors) raw[u].Load(row.body + int64_t{v} * N);
    }
#pragma unroll
    for (int u = 0; u < kUnroll; ++u) {
      const int v = first + u * threads;
      if (v >= row.vectors) continue;
      if (kGradient && v < kept) held[v] = raw[u];
      A values[N];
      raw[u].Unpack(values);
      own.Add(values);
    }
  }
  const A max = BlockMax(own.max, scratch[0]);
  const A sum = BlockSum(own.sum * Exponential(own.max - max), scratch[1]);
  const A loss = max - chosen + log(sum);
  if (thread == 0) nll[i] = loss;
  if constexpr (kGradient) {
    const A factor = scales[i] / sum;
    if (thread < row.singles) *row.single(thread) = T(Exponential(single - max) * factor);
    for (int first = thread; first < row.vectors; first += kUnroll * threads) {
      Raw<T, N> raw[kUnroll];
#pragma unroll
      for (int u = 0; u < kUnroll; ++u) {
        const int v = first + u * threads;
        if (v >= row.vectors) continue;
        if (v < kept) {
          raw[u] = held[v];
        } else {
          raw[u].Load(row.body + int64_t{v} * N);
        }
      }
#pragma unroll
      for (int u = 0; u < kUnroll; ++u) {
        const int v = first + u * threads;
        if (v >= row.vectors) continue;
        A values[N];
        raw[u].Unpack(values);
#pragma unroll
        for (int k = 0; k < N; ++k) values[k] = Exponential(values[k] - max) * factor;
        raw[u].Pack(values);
        raw[u].Store(row.body + int64_t{v} * N);
      }
    }
    __syncthreads();
    // p - 1 without cancellation where p is near 1.
    if (thread == 0 && possible) row.data[target] = T(scales[i] * expm1(-loss));
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
  const int most = int64_t{kept} * kAccess * 2 > room ? kMostThreads : kMostThreads / 2;
  const auto threads = static_cast<unsigned>(std::clamp<int64_t>(CeilDiv(vectors, kWarp) * kWarp, kWarp, most));
  Launch(context, "cross_entropy", CrossEntropyKernel<T, N, kGradient>, static_cast<unsigned>(logits.dim(0)), threads,
         static_cast<size_t>(kept) * kAccess, logits.data<T>(), width, target.data<int32_t>(),
         kGradient ? scale.data<A>() : nullptr, nll.data<A>(), kept);
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
