// Random tensors and comparisons for tests.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "core/context.h"
#include "core/tape.h"

namespace photon::testing {

// A CPU context with an arena of its own whose fresh memory is poisoned with NaN bytes (0xff), so that an operation
// that leaves an output unwritten is seen.
class TestContext {
 public:
  TestContext();
  operator const Context&() const { return context_; }
  const Context& get() const { return context_; }
  Arena& arena() { return arena_; }

 private:
  Arena arena_;
  Context context_;
};

// N(0, scale) values, a function of seed alone, rounded to dtype.
Tensor RandomTensor(const Context& context, Shape shape, DType dtype, uint64_t seed, double scale = 1.0);
Tensor IntTensor(const Context& context, std::vector<int32_t> values);        // i32 [n]
std::vector<double> ToDoubles(const Context& context, const Tensor& tensor);  // any floating dtype, strided too
Tensor FromDoubles(const Context& context, const std::vector<double>& values, Shape shape, DType dtype);

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
