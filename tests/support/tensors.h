// Random tensors and comparisons for tests.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/context.h"
#include "core/device.h"
#include "core/tape.h"

namespace photon::testing {

// A context on the device that PHOTON_TEST_DEVICE in the environment names: cpu (also where it is not set), emulated
// (the GPU of tests/simt) or cuda. Fresh memory is poisoned with NaN bytes (0xff), so that an operation that leaves an
// output unwritten is seen. The host can't touch tensors of the last two: use the functions below.
class TestContext {
 public:
  TestContext();
  operator const Context&() const { return *context_; }
  const Context& get() const { return *context_; }
  Arena& arena() { return device_ == nullptr ? arena_ : device_->allocator().main(); }
  // Null on the CPU.
  OpenedDevice* device() { return device_.get(); }

 private:
  Arena arena_;                           // of the CPU
  std::unique_ptr<OpenedDevice> device_;  // any other
  std::optional<Context> context_;
};

// Whether TestContext is on the CPU, for tests of what only CPUs do.
bool OnCpu();

// N(0, scale) values, a function of seed alone, rounded to dtype.
Tensor RandomTensor(const Context& context, Shape shape, DType dtype, uint64_t seed, double scale = 1.0);
Tensor IntTensor(const Context& context, std::vector<int32_t> values);        // i32 [n]
std::vector<double> ToDoubles(const Context& context, const Tensor& tensor);  // any floating dtype, strided too
Tensor FromDoubles(const Context& context, const std::vector<double>& values, Shape shape, DType dtype);
// Element `index` of a contiguous tensor, any floating dtype.
void SetElement(const Context& context, const Tensor& tensor, int64_t index, double value);

// Runs `body`, which makes its own TestContext, and returns what it returned. On the emulated GPU again, with threads
// and queues in other orders, and expects the same bits each time: a missing barrier or wait shows as a difference.
std::vector<double> InEveryOrder(const std::function<std::vector<double>()>& body);

// Sum of tensor's elements times those of `weights` (another shape will do): a loss with known gradient.
double WeightedSum(const Context& context, const Tensor& tensor, const Tensor& weights);

// Unit roundoff of a dtype: 2^-8 for bf16, 2^-24 for f32, 2^-53 for f64.
double UnitRoundoff(DType dtype);

// max |got - want| <= bound, elementwise; the failure message names the worst element. NaN fails.
void ExpectNear(const std::vector<double>& got, const std::vector<double>& want, double bound, const std::string& what);

// Checks a gradient by central differences in f64: `loss` is a function of the tensor's elements (f64, changed in
// place), `gradient` the claimed one. Every element where there are at most `probes`, else a random choice of them. The
// tolerance follows from the step 1e-5: truncation O(h^2) and cancellation O(eps/h), relative to the largest gradient
// and loss.
void ExpectGradient(const Context& context, const Tensor& x, const Tensor& gradient,
                    const std::function<double()>& loss, const std::string& what, int probes = 200);

}  // namespace photon::testing
