#include <algorithm>
#include <cstring>

#include "core/cpu/kernels.h"
#include "core/cpu/parallel_for.h"
#include "core/cpu/simd.h"

namespace photon::cpu {
namespace {

Vec<double> LoadDoubles(const double* p) { return Load(p); }
Vec<double> LoadDoubles(const float* p) {
  typedef float Half __attribute__((vector_size(32)));
  Half half;
  std::memcpy(&half, p, sizeof(half));
  return __builtin_convertvector(half, Vec<double>);
}

template <typename A>
double SumSquaresOf(const A* x, int64_t n) {
  constexpr int64_t kUnrolled = 4;  // independent sums, so that an addition need not wait for the one before
  constexpr int64_t kStep = kUnrolled * kLanes<double>;
  Vec<double> sums[kUnrolled] = {};
  int64_t i = 0;
  for (; i + kStep <= n; i += kStep) {
    for (int64_t u = 0; u < kUnrolled; ++u) {
      const Vec<double> values = LoadDoubles(x + i + u * kLanes<double>);
      sums[u] += values * values;
    }
  }
  double rest = 0;
  for (; i < n; ++i) rest += static_cast<double>(x[i]) * x[i];
  return Sum<double>((sums[0] + sums[1]) + (sums[2] + sums[3])) + rest;
}

// Sums of blocks of fixed size, then the sum of those in order: the number of threads does not enter.
// `sum(x, first, n)` gives a block's.
template <typename F>
double SumOfBlocks(const Context& context, const Tensor& x, F&& sum) {
  constexpr int64_t kBlock = 4096;
  const int64_t blocks = (x.elements() + kBlock - 1) / kBlock;
  const Tensor block_sums = context.Empty({blocks}, DType::kF64);
  double* sums = block_sums.data<double>();
  VisitFloat(x.dtype(), [&](auto tag) {
    using A = decltype(tag);
    if constexpr (!std::is_same_v<A, BFloat16>) {
      ParallelFor(blocks, RowGrain(kBlock), [&](int64_t begin, int64_t end) {
        for (int64_t b = begin; b < end; ++b) {
          sums[b] = sum(x.data<A>(), b * kBlock, std::min(kBlock, x.elements() - b * kBlock));
        }
      });
    }
  });
  double total = 0;
  for (int64_t b = 0; b < blocks; ++b) total += sums[b];
  return total;
}

}  // namespace

void SumSquares(const Context& context, const Tensor& x, const Tensor& out) {
  out.data<double>()[0] = SumOfBlocks(
      context, x, [](const auto* values, int64_t first, int64_t n) { return SumSquaresOf(values + first, n); });
}

void AccumulateSum(const Context& context, const Tensor& x, const Tensor& mask, const Tensor& out) {
  const int32_t* counts = DataOrNull<int32_t>(mask);
  out.data<double>()[0] += SumOfBlocks(context, x, [counts](const auto* values, int64_t first, int64_t n) {
    double sum = 0;
    for (int64_t i = first; i < first + n; ++i) {
      if (counts == nullptr || counts[i] != 0) sum += values[i];
    }
    return sum;
  });
}

}  // namespace photon::cpu
