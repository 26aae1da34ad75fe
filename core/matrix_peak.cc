#include "core/matrix_peak.h"

#include <algorithm>
#include <vector>

#include "core/ops/elementwise.h"
#include "core/ops/matmul.h"
#include "core/time.h"

namespace photon {
namespace {

// 768 is the fastest on two cores (its factors stay in the caches); many cores need the work of 2048.
constexpr int64_t kSizes[] = {768, 1024, 2048};
constexpr int64_t kLargest = 2048;
constexpr double kSecondsPerSize = 0.1;

// Values that differ: constant ones spare a device's power and would measure a clock that training never sees.
Tensor VariedValues(const Context& context, DType dtype) {
  std::vector<float> values(kLargest * kLargest);
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] = static_cast<float>(static_cast<uint32_t>(i) * 2654435761u >> 16) * 0x1p-16f - 0.5f;
  }
  const Tensor f32 = context.FromHost(values.data(), {kLargest * kLargest}, DType::kF32);
  if (dtype == DType::kF32) return f32;
  const Tensor converted = context.Empty(f32.shape(), dtype);
  ops::Cast(context, f32, converted);
  return converted;
}

double FlopPerSecond(const Context& context, const Tensor& factor, bool transpose_b, const Tensor& c) {
  const double start = Now();
  ops::MatMul(context, factor, false, factor, transpose_b, Tensor(), 0, c);
  context.Synchronize();
  const double n = static_cast<double>(c.dim(0));
  return 2 * n * n * n / (Now() - start);
}

}  // namespace

double MeasureMatrixPeak(const Context& context, DType dtype) {
  const Tensor values = VariedValues(context, dtype);
  context.Synchronize();
  double best = 0;
  for (const int64_t n : kSizes) {
    const Tensor factor = values.Rows(0, n * n).Reshape({n, n});
    const Tensor c = context.Empty({n, n}, dtype);
    const double start = Now();
    do {
      for (const bool transpose_b : {false, true}) {
        best = std::max(best, FlopPerSecond(context, factor, transpose_b, c));
      }
    } while (Now() - start < kSecondsPerSize);
  }
  return best;
}

}  // namespace photon
