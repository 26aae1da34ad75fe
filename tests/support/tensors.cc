#include "tests/support/tensors.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>

#include "core/backend.h"
#include "core/cuda/opened_device.h"
#include "core/random.h"
#include "tests/simt/emulator/order.h"
#include "tests/simt/emulator/red_zones.h"

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

std::string TestDevice() {
  const char* device = std::getenv("PHOTON_TEST_DEVICE");
  return device == nullptr ? "cpu" : device;
}

// What the arena takes first is the only slab of most tests.
void PoisonFirstSlab(const Context& context) {
  const std::vector<unsigned char> poison(32 << 20, 0xff);
  context.FromHost(poison.data(), {static_cast<int64_t>(poison.size())}, DType::kU8);
}

absl::StatusOr<std::unique_ptr<OpenedDevice>> OpenTestDevice() {  // the emulator poisons memory itself
  if (TestDevice() != "emulated") return OpenedDevice::Open(TestDevice());
  absl::StatusOr<std::unique_ptr<OpenedDevice>> device = cuda::OpenCudaDevice(0);
  if (!device.ok()) return device;
  return simt::WithRedZones(*std::move(device));
}

}  // namespace

TestContext::TestContext() : arena_(PoisonedSlabs()) {
  if (OnCpu()) {
    context_.emplace(Device{}, CpuBackend(), arena_);
    return;
  }
  absl::StatusOr<std::unique_ptr<OpenedDevice>> device = OpenTestDevice();
  PHOTON_CHECK(device.ok()) << "PHOTON_TEST_DEVICE: " << device.status().ToString();
  device_ = *std::move(device);
  context_.emplace(device_->MakeContext(nullptr));
  if (TestDevice() == "cuda") PoisonFirstSlab(*context_);
}

bool OnCpu() { return TestDevice() == "cpu"; }

Tensor FromDoubles(const Context& context, const std::vector<double>& values, Shape shape, DType dtype) {
  PHOTON_CHECK_EQ(shape.elements(), static_cast<int64_t>(values.size()));
  return VisitFloat(dtype, [&](auto tag) {
    using T = decltype(tag);
    std::vector<T> rounded(values.size());
    for (size_t i = 0; i < values.size(); ++i) rounded[i] = T(static_cast<AccumulateType<T>>(values[i]));
    return context.FromHost(rounded.data(), std::move(shape), dtype);
  });
}

void SetElement(const Context& context, const Tensor& tensor, int64_t index, double value) {
  VisitFloat(tensor.dtype(), [&](auto tag) {
    using T = decltype(tag);
    const T element = T(static_cast<AccumulateType<T>>(value));
    ops::CopyFromHost(context, &element, tensor.Reshape({tensor.elements()}).Rows(index, index + 1));
  });
}

std::vector<double> InEveryOrder(const std::function<std::vector<double>()>& body) {
  const std::vector<double> first = body();
  if (TestDevice() != "emulated") return first;
  using simt::Queueing;
  using simt::ThreadOrder;
  struct Case {
    const char* name;
    ThreadOrder order;
    Queueing queueing;
  };
  for (const Case& c : {Case{"last thread first, work run at once", {ThreadOrder::kLast}, Queueing::kAtOnce},
                        Case{"random threads", {ThreadOrder::kRandom, 1}, Queueing::kLate},
                        Case{"other random threads", {ThreadOrder::kRandom, 2}, Queueing::kLate}}) {
    simt::SetThreadOrder(c.order);
    simt::SetQueueing(c.queueing);
    const std::vector<double> again = body();
    EXPECT_EQ(again.size(), first.size()) << c.name;
    size_t different = 0;
    while (different < first.size() && std::memcmp(&first[different], &again[different], sizeof(double)) == 0) {
      ++different;
    }
    EXPECT_EQ(different, first.size()) << c.name << ": another result";
  }
  simt::SetThreadOrder({});
  simt::SetQueueing(Queueing::kLate);
  return first;
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
  Tensor t = tensor;
  if (!t.contiguous()) {
    t = context.Empty(tensor.shape(), tensor.dtype());
    ops::Cast(context, tensor, t);
  }
  return VisitFloat(t.dtype(), [&](auto tag) {
    using T = decltype(tag);
    std::vector<T> elements(t.elements());
    context.ToHost(t, elements.data());
    return std::vector<double>(elements.begin(), elements.end());
  });
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
  const std::vector<double> elements = ToDoubles(context, x), claimed = ToDoubles(context, gradient);
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
    SetElement(context, x, i, elements[i] + kStep);
    const double above = loss();
    SetElement(context, x, i, elements[i] - kStep);
    const double below = loss();
    SetElement(context, x, i, elements[i]);
    const double numeric = (above - below) / (2 * kStep);
    EXPECT_LE(std::abs(numeric - claimed[i]), tolerance)
        << what << ": element " << i << ": gradient " << claimed[i] << ", difference quotient " << numeric;
  }
}

}  // namespace photon::testing
