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
constexpr double kSecondsPerSize = 0.1;

// On a GPU, doubled as long as one product is over sooner than kLongProduct: a Hopper is filled from 4096 on.
constexpr int64_t kFirstOnGpu = 256, kLastOnGpu = 8192;
constexpr int kQueued = 8;  // products between two waits, which would be a large part of a short one
constexpr double kLongProduct = 0.005;

// Values that differ: constant ones spare a device's power and would measure a clock that training never sees.
Tensor VariedValues(const Context& context, int64_t n, DType dtype) {
  std::vector<float> values(n * n);
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] = static_cast<float>(static_cast<uint32_t>(i) * 2654435761u >> 16) * 0x1p-16f - 0.5f;
  }
  const Tensor f32 = context.FromHost(values.data(), {n * n}, DType::kF32);
  if (dtype == DType::kF32) return f32;
  const Tensor converted = context.Empty(f32.shape(), dtype);
  ops::Cast(context, f32, converted);
  return converted;
}

double FlopPerSecond(const Context& context, const Tensor& factor, bool transpose_b, const Tensor& c, int products) {
  const double start = Now();
  for (int i = 0; i < products; ++i) ops::MatMul(context, factor, false, factor, transpose_b, Tensor(), 0, c);
  context.Synchronize();
  const double n = static_cast<double>(c.dim(0));
  return 2 * n * n * n * products / (Now() - start);
}

double MeasureOnGpu(const Context& context, DType dtype) {
  double best = 0;
  for (int64_t n = kFirstOnGpu; n <= kLastOnGpu; n *= 2) {
    const Tensor factor = VariedValues(context, n, dtype).Reshape({n, n});
    const Tensor c = context.Empty({n, n}, dtype);
    FlopPerSecond(context, factor, /*transpose_b=*/true, c, 1);  // opens the library, chooses the algorithm
    double rate = FlopPerSecond(context, factor, /*transpose_b=*/true, c, 1);
    const double product = 2.0 * static_cast<double>(n * n * n);
    if (product / rate < kLongProduct) rate = FlopPerSecond(context, factor, /*transpose_b=*/true, c, kQueued);
    best = std::max(best, rate);
    if (product / rate > kLongProduct) break;
  }
  return best;
}

}  // namespace

double MeasureMatrixPeak(const Context& context, DType dtype) {
  if (context.device().type != DeviceType::kCpu) return MeasureOnGpu(context, dtype);
  constexpr int64_t kLargest = std::max({kSizes[0], kSizes[1], kSizes[2]});
  const Tensor values = VariedValues(context, kLargest, dtype);
  context.Synchronize();
  double best = 0;
  for (const int64_t n : kSizes) {
    const Tensor factor = values.Rows(0, n * n).Reshape({n, n});
    const Tensor c = context.Empty({n, n}, dtype);
    const double start = Now();
    do {
      for (const bool transpose_b : {false, true}) {
        best = std::max(best, FlopPerSecond(context, factor, transpose_b, c, 1));
      }
    } while (Now() - start < kSecondsPerSize);
  }
  return best;
}

}  // namespace photon
