#include "core/ops/swiglu.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "tests/support/tensors.h"

namespace photon {
namespace {

using testing::ExpectGradient;
using testing::ExpectNear;
using testing::FromDoubles;
using testing::InEveryOrder;
using testing::RandomTensor;
using testing::TestContext;
using testing::ToDoubles;
using testing::UnitRoundoff;
using testing::WeightedSum;

constexpr DType kTypes[] = {DType::kF64, DType::kF32, DType::kBF16};
// Odd widths, whole vectors, and more of them than threads in a GPU's grid.
constexpr std::pair<int64_t, int64_t> kShapes[] = {{7, 1}, {7, 3}, {7, 17}, {7, 63}, {7, 200}, {70, 416}};

double Largest(const std::vector<double>& values) {
  double largest = 0;
  for (double v : values) largest = std::max(largest, std::abs(v));
  return largest;
}

// Roundings of an element: exp within 2 ulp (4 u), some six more operations, each on values no larger than the bound's
// factor; then the store.
double Bound(DType dtype, double factor) {
  return (12 * UnitRoundoff(dtype == DType::kF64 ? DType::kF64 : DType::kF32) + UnitRoundoff(dtype)) * factor;
}

TEST(SwiGlu, ForwardAndBackwardMatchTheFormula) {
  TestContext context;
  const Context& c = context;
  for (DType dtype : kTypes) {
    for (const auto& [rows, width] : kShapes) {
      const Tensor x = RandomTensor(c, {rows, 2 * width}, dtype, 1, 3.0), dy = RandomTensor(c, {rows, width}, dtype, 2);
      const Tensor y = c.Empty({rows, width}, dtype), dx = c.Empty({rows, 2 * width}, dtype);
      ops::SwiGluForward(c, x, y);
      ops::SwiGluBackward(c, dy, x, dx);

      const std::vector<double> in = ToDoubles(c, x), d = ToDoubles(c, dy);
      std::vector<double> want(rows * width), want_dx(rows * 2 * width);
      for (int64_t i = 0; i < rows; ++i) {
        for (int64_t j = 0; j < width; ++j) {
          const double g = in[i * 2 * width + j], u = in[i * 2 * width + width + j], s = 1 / (1 + std::exp(-g));
          const double t = d[i * width + j];
          want[i * width + j] = g * s * u;
          want_dx[i * 2 * width + j] = t * u * s * (1 + g * (1 - s));
          want_dx[i * 2 * width + width + j] = t * g * s;
        }
      }
      const std::string what = absl::StrCat(Name(dtype), " width ", width);
      const double g = Largest(in);
      ExpectNear(ToDoubles(c, y), want, Bound(dtype, g * g), "y " + what);
      ExpectNear(ToDoubles(c, dx), want_dx, Bound(dtype, Largest(d) * g * (1 + g)), "gradient " + what);

      ops::SwiGluBackward(c, dy, x, x);  // in place: the same bits
      EXPECT_EQ(ToDoubles(c, x), ToDoubles(c, dx)) << what;
    }
  }
}

TEST(SwiGlu, LargeGatesSaturate) {
  TestContext context;
  const Context& c = context;
  for (DType dtype : kTypes) {
    const Tensor x = FromDoubles(c, {-1024, -128, 0, 128, 1024, 1, 1, 1, 1, 1}, {1, 10}, dtype);
    const Tensor dy = FromDoubles(c, {1, 1, 1, 1, 1}, {1, 5}, dtype);
    const Tensor y = c.Empty({1, 5}, dtype), dx = c.Empty({1, 10}, dtype);
    ops::SwiGluForward(c, x, y);
    ops::SwiGluBackward(c, dy, x, dx);
    ExpectNear(ToDoubles(c, y), {0, 0, 0, 128, 1024}, 1e-30, "y");
    ExpectNear(ToDoubles(c, dx), {0, 0, 0.5, 1, 1, 0, 0, 0, 128, 1024}, 1e-30, "gradient");
  }
}

TEST(SwiGlu, GradientOnTheTape) {
  TestContext context;
  for (int64_t width : {1, 3, 17, 63}) {
    const Tensor x = RandomTensor(context, {3, 2 * width}, DType::kF64, 1);
    const Tensor factor = RandomTensor(context, {3, width}, DType::kF64, 2);
    Tape tape(context, Tape::Mode::kRecord);
    const Var leaf = tape.Leaf(x);
    const Var y = ops::SwiGlu(tape, leaf);
    y.slot->Accumulate(context, factor.Reshape({width, 3}));
    const std::vector<double> before = ToDoubles(context, x);
    tape.Backward();
    EXPECT_EQ(ToDoubles(context, x), before);  // the test still holds it: not overwritten
    const auto loss = [&] {
      Tape evaluate(context, Tape::Mode::kEvaluate);
      return WeightedSum(context, ops::SwiGlu(evaluate, Var(x)).value, factor);
    };
    ExpectGradient(context, x, leaf.slot->gradient(), loss, absl::StrCat("width ", width));
  }
}

TEST(SwiGlu, ReusesMemoryThatNobodyElseHolds) {
  TestContext context;
  Tape tape(context, Tape::Mode::kRecord);
  std::shared_ptr<GradientSlot> x_slot, y_slot;
  const void* memory = nullptr;
  {
    const Var x = tape.Leaf(RandomTensor(context, {2, 34}, DType::kF32, 1));
    x_slot = x.slot;
    y_slot = ops::SwiGlu(tape, x).slot;
    memory = x.value.raw();
  }
  y_slot->Accumulate(context, RandomTensor(context, {2, 17}, DType::kF32, 2));
  tape.Backward();
  EXPECT_EQ(x_slot->gradient().raw(), memory);
  EXPECT_TRUE(x_slot->gradient().exclusive());
}

TEST(SwiGlu, SameBitsInEveryOrder) {
  InEveryOrder([] {
    TestContext context;
    const Context& c = context;
    const Tensor x = RandomTensor(c, {70, 832}, DType::kBF16, 1), dy = RandomTensor(c, {70, 416}, DType::kBF16, 2);
    const Tensor y = c.Empty({70, 416}, DType::kBF16);
    ops::SwiGluForward(c, x, y);
    ops::SwiGluBackward(c, dy, x, x);
    std::vector<double> all = ToDoubles(c, y), gradient = ToDoubles(c, x);
    all.insert(all.end(), gradient.begin(), gradient.end());
    return all;
  });
}

TEST(SwiGlu, NoRowsNoGradient) {
  TestContext context;
  Tape tape(context, Tape::Mode::kRecord);
  EXPECT_EQ(ops::SwiGlu(tape, Var(context.get().Empty({0, 6}, DType::kBF16))).value.shape(), (Shape{0, 3}));
  const Var leaf = tape.Leaf(RandomTensor(context, {2, 6}, DType::kF32, 1));
  ops::SwiGlu(tape, leaf);
  tape.Backward();
  EXPECT_FALSE(leaf.slot->gradient().defined());
}

TEST(SwiGluDeathTest, MismatchNamesOperands) {
  TestContext context;
  const Context& c = context;
  const Tensor x = c.Zeros({2, 6}, DType::kF32), y = c.Zeros({2, 4}, DType::kF32);
  EXPECT_EXIT(ops::SwiGluForward(c, x, y), ::testing::ExitedWithCode(1), "\\[swiglu\\].*f32\\[2, 6\\].*f32\\[2, 4\\]");
}

}  // namespace
}  // namespace photon
