#include "tests/support/tensors.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>

#include "core/backend.h"
#include "core/random.h"

namespace photon::testing {
namespace {

// Poisons each slab when it is taken. Reused blocks hold old values: as good as poison for finding unwritten outputs.
Arena::SlabSource PoisonedSlabs() {
  Arena::SlabSource host = Arena::HostSlabs();
  return {.take =
              [take = host.take](size_t bytes) {
                void* data = take(bytes);
                if (data != nullptr) std::memset(data, 0xff, bytes);
                return data;
              },
          .give_back = host.give_back};
}

template <typename F>
void ForEachRow(const Tensor& t, F&& f) {  // f(row pointer offset in elements), last dimension contiguous
  PHOTON_CHECK(t.rank() <= 2);
  const int64_t rows = t.rank() == 2 ? t.dim(0) : 1;
  for (int64_t i = 0; i < rows; ++i) f(i, t.rank() == 2 ? i * t.stride(0) : 0);
}

}  // namespace

TestContext::TestContext() : arena_(PoisonedSlabs()), context_(Device{}, CpuBackend(), arena_) {}

Tensor FromDoubles(const Context& context, const std::vector<double>& values, Shape shape, DType dtype) {
  Tensor t = context.Empty(std::move(shape), dtype);
  PHOTON_CHECK_EQ(t.elements(), static_cast<int64_t>(values.size()));
  VisitFloat(dtype, [&](auto tag) {
    using T = decltype(tag);
    for (size_t i = 0; i < values.size(); ++i) t.data<T>()[i] = T(static_cast<AccumulateType<T>>(values[i]));
  });
  return t;
}

Tensor RandomTensor(const Context& context, Shape shape, DType dtype, uint64_t seed, double scale) {
  const Philox philox(seed, 0);
  std::vector<double> values(shape.elements());
  for (size_t i = 0; i < values.size(); ++i) values[i] = scale * philox.Normal(i);
  return FromDoubles(context, values, std::move(shape), dtype);
}

Tensor IntTensor(const Context& context, std::vector<int32_t> values) {
  return context.FromHost(values.data(), {static_cast<int64_t>(values.size())}, DType::kI32);
}

std::vector<double> ToDoubles(const Context& context, const Tensor& tensor) {
  context.Synchronize();
  const Tensor t = tensor.rank() > 2 ? tensor.Reshape({tensor.elements() / tensor.dim(-1), tensor.dim(-1)}) : tensor;
  std::vector<double> values;
  values.reserve(t.elements());
  VisitFloat(t.dtype(), [&](auto tag) {
    using T = decltype(tag);
    ForEachRow(t, [&](int64_t, int64_t offset) {
      for (int64_t j = 0; j < (t.rank() == 0 ? 1 : t.dim(-1)); ++j) {
        values.push_back(static_cast<double>(t.data<T>()[offset + j]));
      }
    });
  });
  return values;
}

double WeightedSum(const Context& context, const Tensor& tensor, const Tensor& weights) {
  const std::vector<double> values = ToDoubles(context, tensor);
  const std::vector<double> factors = ToDoubles(context, weights);
  PHOTON_CHECK_EQ(values.size(), factors.size());
  double sum = 0;
  for (size_t i = 0; i < values.size(); ++i) sum += values[i] * factors[i];
  return sum;
}

double UnitRoundoff(DType dtype) { return dtype == DType::kF64 ? 0x1p-53 : dtype == DType::kF32 ? 0x1p-24 : 0x1p-8; }

void ExpectNear(const std::vector<double>& got, const std::vector<double>& want, double bound,
                const std::string& what) {
  ASSERT_EQ(got.size(), want.size()) << what;
  size_t worst = 0;
  double worst_error = -1;
  for (size_t i = 0; i < got.size(); ++i) {
    const double error = std::isnan(got[i]) || std::isnan(want[i]) ? INFINITY : std::abs(got[i] - want[i]);
    if (error > worst_error) {
      worst_error = error;
      worst = i;
    }
  }
  if (got.empty()) return;
  EXPECT_LE(worst_error, bound) << what << ": element " << worst << " is " << got[worst] << ", want " << want[worst];
}

void ExpectGradient(const Context& context, const Tensor& x, const Tensor& gradient,
                    const std::function<double()>& loss, const std::string& what, int probes) {
  ASSERT_TRUE(gradient.defined()) << what << ": no gradient";
  PHOTON_CHECK(x.dtype() == DType::kF64 && x.contiguous());
  const std::vector<double> claimed = ToDoubles(context, gradient);
  ASSERT_EQ(static_cast<int64_t>(claimed.size()), x.elements()) << what;
  double largest = 0;
  for (double g : claimed) largest = std::max(largest, std::abs(g));
  constexpr double kStep = 1e-5;
  const double scale = std::abs(loss());
  // Truncation: third derivatives of these smooth functions are within 1e3 of the gradient's size. Cancellation: a few
  // hundred roundings of the loss, each eps, over 2 h.
  const double tolerance = 1e3 * kStep * kStep * std::max(largest, 1.0) + 500 * 0x1p-53 * std::max(scale, 1.0) / kStep;
  const Philox philox(StableHash(what), 1);
  const int64_t n = x.elements();
  for (int64_t k = 0; k < std::min<int64_t>(n, probes); ++k) {
    const int64_t i = n <= probes ? k : philox.Block(k)[0] % n;
    double& element = x.data<double>()[i];
    const double saved = element;
    element = saved + kStep;
    const double above = loss();
    element = saved - kStep;
    const double below = loss();
    element = saved;
    const double numeric = (above - below) / (2 * kStep);
    EXPECT_LE(std::abs(numeric - claimed[i]), tolerance)
        << what << ": element " << i << ": gradient " << claimed[i] << ", difference quotient " << numeric;
  }
}

}  // namespace photon::testing
