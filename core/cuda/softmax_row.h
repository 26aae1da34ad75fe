// The softmax of one row of logits, of any length, by one block: how the row is read, summed up and overwritten.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

#include "core/cuda/launch.h"
#include "core/cuda/vector.h"

namespace photon::cuda {

inline constexpr int kMostRowThreads = 1024;

// exp(x), x <= 0. The difference to the row's largest is taken before the factor: it is exact near 0.
__device__ __forceinline__ float Exponential(float x) { return Exp2(x * 1.44269504088896340736f); }
__device__ __forceinline__ double Exponential(double x) { return exp(x); }

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

// A row in the parts that it is accessed in: vectors of N from the first aligned address, single elements around them,
// of which a thread has one at most. The first `kept` vectors stay in shared memory between two passes.
template <typename T, int N>
class SoftmaxRow {
  using A = AccumulateType<T>;

 public:
  __device__ SoftmaxRow(T* begin, int64_t width, int kept = 0) : data_(begin), kept_(kept) {
    const int64_t misaligned = static_cast<int64_t>(reinterpret_cast<uintptr_t>(begin) / sizeof(T) % N);
    const int64_t head = min(width, misaligned == 0 ? int64_t{0} : N - misaligned);
    body_ = begin + head;
    vectors_ = static_cast<int>((width - head) / N);
    singles_ = static_cast<int>(width - int64_t{vectors_} * N);
    head_ = static_cast<int>(head);
  }

  __device__ __forceinline__ void Clear() const {
    Raw<T, N> zeros;
    zeros.Pack({});
    for (int v = thread(); v < vectors_; v += threads()) zeros.Store(body_ + int64_t{v} * N);
    if (thread() < singles_) *Single(thread()) = T(A(0));
  }

  // This thread's share of the row's sum. kKeep: keeps what fits for Overwrite().
  template <bool kKeep>
  __device__ __forceinline__ RunningSum<A> Read() {
    RunningSum<A> own;
    if (thread() < singles_) own.Add({static_cast<A>(*Single(thread()))});
    for (int first = thread(); first < vectors_; first += kUnroll * threads()) {
      Raw<T, N> raw[kUnroll];
#pragma unroll
      for (int u = 0; u < kUnroll; ++u) {
        const int v = first + u * threads();
        if (v < vectors_) raw[u].Load(body_ + int64_t{v} * N);
      }
#pragma unroll
      for (int u = 0; u < kUnroll; ++u) {
        const int v = first + u * threads();
        if (v >= vectors_) continue;
        if (kKeep && v < kept_) Held()[v] = raw[u];
        A values[N];
        raw[u].Unpack(values);
        own.Add(values);
      }
    }
    return own;
  }

  // Every element x becomes exp(x - max) * factor.
  __device__ __forceinline__ void Overwrite(A max, A factor) const {
    if (thread() < singles_) {
      T* const single = Single(thread());
      *single = T(Exponential(static_cast<A>(*single) - max) * factor);
    }
    for (int first = thread(); first < vectors_; first += kUnroll * threads()) {
      Raw<T, N> raw[kUnroll];
#pragma unroll
      for (int u = 0; u < kUnroll; ++u) {
        const int v = first + u * threads();
        if (v >= vectors_) continue;
        if (v < kept_) {
          raw[u] = Held()[v];
        } else {
          raw[u].Load(body_ + int64_t{v} * N);
        }
      }
#pragma unroll
      for (int u = 0; u < kUnroll; ++u) {
        const int v = first + u * threads();
        if (v >= vectors_) continue;
        A values[N];
        raw[u].Unpack(values);
#pragma unroll
        for (int k = 0; k < N; ++k) values[k] = Exponential(values[k] - max) * factor;
        raw[u].Pack(values);
        raw[u].Store(body_ + int64_t{v} * N);
      }
    }
  }

 private:
  static constexpr int kUnroll = 4;  // vectors that a thread has in flight
  static __device__ __forceinline__ int thread() { return static_cast<int>(threadIdx.x); }
  static __device__ __forceinline__ int threads() { return static_cast<int>(blockDim.x); }
  static __device__ __forceinline__ Raw<T, N>* Held() { return DynamicShared<Raw<T, N>>(); }
  __device__ __forceinline__ T* Single(int i) const {
    return i < head_ ? data_ + i : body_ + int64_t{vectors_} * N + (i - head_);
  }

  T* data_;
  T* body_;
  int vectors_, head_, singles_, kept_;
};

// Threads for rows of so many vectors.
inline unsigned RowThreads(int64_t vectors, int most) {
  return static_cast<unsigned>(std::clamp<int64_t>(CeilDiv(vectors, kWarp) * kWarp, kWarp, most));
}

}  // namespace photon::cuda
