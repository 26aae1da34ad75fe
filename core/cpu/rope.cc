#include "core/cpu/kernels.h"
#include "core/cpu/parallel_for.h"
#include "core/cpu/simd.h"

namespace photon::cpu {
namespace {

// The dimensions [i, i + kLanes) of both halves of a head, in registers.
template <typename T>
struct Pairs {
  using A = AccumulateType<T>;
  Pairs(const T* head, int64_t half, int64_t i) : first(Load(head + i)), second(Load(head + half + i)) {}
  void StoreRotated(T* head, int64_t half, int64_t i, const A* angles, A sign) const {
    const Vec<A> c = Load(angles + i);
    const Vec<A> s = Load(angles + half + i) * sign;
    Store(head + i, first * c - second * s);
    Store(head + half + i, second * c + first * s);
  }
  Vec<A> first, second;
};

template <typename T>
void RotateHead(T* head, int64_t half, const AccumulateType<T>* angles, AccumulateType<T> sign) {
  using A = AccumulateType<T>;
  constexpr int n = kLanes<A>;
  if (half < n) {
    for (int64_t i = 0; i < half; ++i) {
      const A first = static_cast<A>(head[i]);
      const A second = static_cast<A>(head[half + i]);
      const A s = angles[half + i] * sign;
      head[i] = T(first * angles[i] - second * s);
      head[half + i] = T(second * angles[i] + first * s);
    }
    return;
  }
  // The last vector overlaps the one before it where half is no multiple: read before that one is written.
  const Pairs<T> last(head, half, half - n);
  for (int64_t i = 0; i + n < half; i += n) Pairs<T>(head, half, i).StoreRotated(head, half, i, angles, sign);
  last.StoreRotated(head, half, half - n, angles, sign);
}

}  // namespace

void Rope(const Context&, const Tensor& x, int64_t head_dim, const Tensor& positions, const Tensor& table,
          bool inverse) {
  constexpr int64_t kGrain = 16384;  // elements a thread must have to be worth waking
  const int32_t* position = positions.data<int32_t>();
  VisitFloat(x.dtype(), [&](auto tag) {
    using T = decltype(tag);
    using A = AccumulateType<T>;
    ParallelFor(x.dim(0), kGrain / x.dim(1) + 1, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        const A* angles = table.data<A>() + position[row] * head_dim;
        T* heads = x.data<T>() + row * x.stride(0);
        for (int64_t h = 0; h < x.dim(1); h += head_dim)
          RotateHead(heads + h, head_dim / 2, angles, A(inverse ? -1 : 1));
      }
    });
  });
}

}  // namespace photon::cpu
