#include <cmath>

#include "core/cpu/kernels.h"
#include "core/cpu/parallel_for.h"
#include "core/cpu/simd.h"

namespace photon::cpu {
namespace {

constexpr double kFloor = 1e-8;  // of a norm

// out = scale d(1 - cos)/dx = scale (x cos / |x|^2 - other / (|x| |other|)), without the first term at the floor.
template <typename A>
void GradientRow(const A* x, const A* other, int64_t width, A own, A cross, A* out) {
  ForEachVector<A>(width, [&](int64_t j, auto lanes) {
    Store(out + j, own * Load(x + j, lanes) - cross * Load(other + j, lanes), lanes);
  });
}

template <typename A>
A RunRow(const A* a, const A* b, int64_t width, const A* scale, A* da, A* db) {
  Vec<A> aa{}, bb{}, ab{};
  ForEachVector<A>(width, [&](int64_t j, auto lanes) {
    const Vec<A> x = Load(a + j, lanes), y = Load(b + j, lanes);
    aa += x * x;
    bb += y * y;
    ab += x * y;
  });
  constexpr A floor = static_cast<A>(kFloor);
  const A norm_a = std::sqrt(Sum<A>(aa)), norm_b = std::sqrt(Sum<A>(bb));
  const A inverse_a = 1 / std::max(norm_a, floor), inverse_b = 1 / std::max(norm_b, floor);
  const A cosine = Sum<A>(ab) * inverse_a * inverse_b;
  if (scale != nullptr) {
    const A cross = *scale * inverse_a * inverse_b;
    const A own = *scale * cosine;
    if (da != nullptr) GradientRow(a, b, width, norm_a > floor ? own * inverse_a * inverse_a : 0, cross, da);
    if (db != nullptr) GradientRow(b, a, width, norm_b > floor ? own * inverse_b * inverse_b : 0, cross, db);
  }
  return 1 - cosine;
}

template <typename A>
void Run(const Tensor& a, const Tensor& b, const Tensor& scale, const Tensor& distance, const Tensor& da,
         const Tensor& db) {
  const int64_t width = a.dim(1);
  const A* scales = DataOrNull<A>(scale);
  A* das = DataOrNull<A>(da);
  A* dbs = DataOrNull<A>(db);
  ParallelFor(a.dim(0), RowGrain(width), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t at = i * width;
      distance.data<A>()[i] =
          RunRow(a.data<A>() + at, b.data<A>() + at, width, scales != nullptr ? scales + i : nullptr,
                 das != nullptr ? das + at : nullptr, dbs != nullptr ? dbs + at : nullptr);
    }
  });
}

}  // namespace

void CosineForward(const Context&, const Tensor& a, const Tensor& b, const Tensor& scale, const Tensor& distance,
                   const Tensor& da, const Tensor& db) {
  a.dtype() == DType::kF64 ? Run<double>(a, b, scale, distance, da, db) : Run<float>(a, b, scale, distance, da, db);
}

}  // namespace photon::cpu
