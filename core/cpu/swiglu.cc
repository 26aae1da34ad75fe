#include "core/cpu/kernels.h"
#include "core/cpu/parallel_for.h"
#include "core/cpu/simd.h"

namespace photon::cpu {
namespace {

template <typename V>
inline V Sigmoid(V v) {
  return 1 / (1 + Exp(-v));
}

template <typename T>
void ForwardRow(const T* gate, const T* up, int64_t width, T* y) {
  using A = AccumulateType<T>;
  ForEachVector<A>(width, [&](int64_t j, auto lanes) {
    const Vec<A> g = Load(gate + j, lanes);
    Store(y + j, g * Sigmoid(g) * Load(up + j, lanes), lanes);
  });
}

// dgate, dup may be gate, up: an element is written only after both were read.
template <typename T>
void BackwardRow(const T* dy, const T* gate, const T* up, int64_t width, T* dgate, T* dup) {
  using A = AccumulateType<T>;
  ForEachVector<A>(width, [&](int64_t j, auto lanes) {
    const Vec<A> d = Load(dy + j, lanes), g = Load(gate + j, lanes), u = Load(up + j, lanes);
    const Vec<A> s = Sigmoid(g);
    Store(dgate + j, d * u * s * (1 + g * (1 - s)), lanes);
    Store(dup + j, d * g * s, lanes);
  });
}

}  // namespace

void SwiGluForward(const Context&, const Tensor& gate_up, const Tensor& y) {
  VisitFloat(y.dtype(), [&](auto tag) {
    using T = decltype(tag);
    const int64_t width = y.dim(1);
    ParallelFor(y.dim(0), RowGrain(width), [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const T* gate = gate_up.data<T>() + i * 2 * width;
        ForwardRow(gate, gate + width, width, y.data<T>() + i * width);
      }
    });
  });
}

void SwiGluBackward(const Context&, const Tensor& dy, const Tensor& gate_up, const Tensor& dgate_up) {
  VisitFloat(dy.dtype(), [&](auto tag) {
    using T = decltype(tag);
    const int64_t width = dy.dim(1);
    ParallelFor(dy.dim(0), RowGrain(width), [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const T* gate = gate_up.data<T>() + i * 2 * width;
        T* dgate = dgate_up.data<T>() + i * 2 * width;
        BackwardRow(dy.data<T>() + i * width, gate, gate + width, width, dgate, dgate + width);
      }
    });
  });
}

}  // namespace photon::cpu
