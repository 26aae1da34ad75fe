#include "core/ops/rms_norm.h"

#include <gtest/gtest.h>
#include <omp.h>

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "core/ops/elementwise.h"
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

constexpr double kEps = 1e-5;

// Rows by rows and columns, `offset` elements after the beginning of their memory. The kernels of a GPU share them
// among threads by width: a warp has a row of up to 512 columns (256 in f64), a block one of up to 8192 (2048); what is
// wider, no multiple of 4 or not aligned goes element by element. The tall ones have more rows than one grid.
struct Layout {
  int64_t rows, width;
  int64_t offset = 0;
};
constexpr Layout kLayouts[] = {{5, 1},     {5, 3},    {70, 17},  {5, 63},      {300, 4},
                               {201, 128}, {70, 200}, {99, 416}, {30, 640},    {15, 1664},
                               {2, 4100},  {2, 8192}, {2, 8196}, {20, 128, 1}, {5, 12, 4}};

struct Types {
  DType x;
  DType delta;
  DType y;
};
constexpr Types kTypes[] = {{DType::kF64, DType::kF64, DType::kF64},
                            {DType::kF32, DType::kF32, DType::kF32},
                            {DType::kF32, DType::kBF16, DType::kBF16},
                            {DType::kF32, DType::kBF16, DType::kF32},
                            {DType::kF32, DType::kF32, DType::kBF16}};

double Largest(const std::vector<double>& values) {
  double largest = 0;
  for (double v : values) largest = std::max(largest, std::abs(v));
  return largest;
}

Tensor Converted(const Context& context, const Tensor& t, DType dtype) {
  Tensor out = context.Empty(t.shape(), dtype);
  ops::Cast(context, t, out);
  return out;
}

// Memory for a tensor that begins `offset` elements after a storage does.
Tensor EmptyAt(const Context& context, int64_t offset, const Shape& shape, DType dtype) {
  const int64_t n = shape.elements();
  return context.Empty({offset + n}, dtype).Rows(offset, offset + n).Reshape(shape);
}
Tensor RandomAt(const Context& context, int64_t offset, const Shape& shape, DType dtype, uint64_t seed) {
  const Tensor out = EmptyAt(context, offset, shape, dtype);
  ops::Cast(context, RandomTensor(context, shape, dtype, seed), out);
  return out;
}

TEST(RmsNorm, ForwardMatchesItsFormula) {
  TestContext context;
  for (const Types& types : kTypes) {
    for (const auto& [rows, width, offset] : kLayouts) {
      for (bool with_delta : {false, true}) {
        const std::string what =
            absl::StrCat(Name(types.y), " ", rows, " x ", width, " at ", offset, " delta ", with_delta);
        const Shape shape = {rows, width};
        const Tensor x = RandomAt(context, offset, shape, types.x, 1);
        const Tensor delta = with_delta ? RandomAt(context, offset, shape, types.delta, 2) : Tensor();
        const Tensor weight = RandomTensor(context, {width}, types.x, 3);
        const Tensor sum = with_delta ? EmptyAt(context, offset, shape, types.x) : Tensor();
        const Tensor y = EmptyAt(context, offset, shape, types.y);
        const Tensor rstd = context.get().Empty({rows}, types.x);
        ops::RmsNormForward(context, x, delta, weight, kEps, sum, y, rstd);

        std::vector<double> s = ToDoubles(context, x), want(rows * width), want_rstd(rows);
        const std::vector<double> w = ToDoubles(context, weight);
        if (with_delta) {
          const std::vector<double> d = ToDoubles(context, delta);
          for (size_t i = 0; i < s.size(); ++i) s[i] += d[i];
        }
        for (int64_t i = 0; i < rows; ++i) {
          double squares = 0;
          for (int64_t j = 0; j < width; ++j) squares += s[i * width + j] * s[i * width + j];
          want_rstd[i] = 1 / std::sqrt(squares / width + kEps);
          for (int64_t j = 0; j < width; ++j) want[i * width + j] = s[i * width + j] * want_rstd[i] * w[j];
        }
        // Relative: W roundings in the sum of squares (halved by the root), the root, the division, two products, the
        // addition of delta; then one rounding to y's type.
        const double u = UnitRoundoff(types.x);
        const double relative = (width + 10) * u;
        if (with_delta) ExpectNear(ToDoubles(context, sum), s, u * Largest(s), "sum " + what);
        ExpectNear(ToDoubles(context, rstd), want_rstd, relative * Largest(want_rstd), "rstd " + what);
        ExpectNear(ToDoubles(context, y), want, (relative + UnitRoundoff(types.y)) * Largest(want), "y " + what);
      }
    }
  }
}

// The f64 kernel is the reference of the others; its own gradients are checked by differences below.
TEST(RmsNorm, BackwardMatchesDouble) {
  TestContext context;
  for (const Types& types : kTypes) {
    if (types.x == DType::kF64) continue;
    for (const auto& [rows, width, offset] : kLayouts) {
      const Shape shape = {rows, width};
      const Tensor x = RandomAt(context, offset, shape, types.x, 1);
      const Tensor weight = RandomTensor(context, {width}, types.x, 2);
      const Tensor dy = RandomAt(context, offset, shape, types.y, 3);
      const Tensor dsum = RandomAt(context, offset, shape, types.x, 4);
      const Tensor rstd = RandomTensor(context, {rows}, types.x, 5);
      struct Gradients {
        std::vector<double> dx, ddelta, dweight;
      };
      // `in_place`: dx in the memory of dsum.
      const auto run = [&, &shape = shape, at = offset, columns = width](const Types& as, bool in_place) {
        const Context& c = context;
        const auto converted = [&](const Tensor& t, DType dtype) {
          const Tensor out = EmptyAt(c, at, t.shape(), dtype);
          ops::Cast(c, t, out);
          return out;
        };
        const Tensor d = converted(dsum, as.x), dx = in_place ? d : EmptyAt(c, at, shape, as.x);
        const Tensor ddelta = EmptyAt(c, at, shape, as.delta), dweight = c.Zeros({columns}, as.x);
        ops::RmsNormBackward(c, converted(dy, as.y), converted(x, as.x), Converted(c, weight, as.x),
                             Converted(c, rstd, as.x), d, dx, ddelta, dweight);
        return Gradients{ToDoubles(c, dx), ToDoubles(c, ddelta), ToDoubles(c, dweight)};
      };
      const Gradients got = run(types, false), again = run(types, true);
      const Gradients want = run({DType::kF64, DType::kF64, DType::kF64}, false);

      // With n = x rstd: dx sums W products dy w n, divided by W, so the error of the mean is below W u times its
      // largest term; some ten more roundings. dweight: a term dy n a row, of three roundings each.
      const double u = UnitRoundoff(types.x);
      const double r = Largest(ToDoubles(context, rstd)), n = r * Largest(ToDoubles(context, x));
      const double d = Largest(ToDoubles(context, dy)), w = Largest(ToDoubles(context, weight));
      const double bound = u * ((width + 10) * r * d * w * (1 + n * n) + Largest(ToDoubles(context, dsum)));
      const std::string what = absl::StrCat(Name(types.y), " ", rows, " x ", width, " at ", offset);
      ExpectNear(got.dx, want.dx, bound, "dx " + what);
      ExpectNear(got.ddelta, want.dx, bound + UnitRoundoff(types.delta) * Largest(want.dx), "ddelta " + what);
      ExpectNear(got.dweight, want.dweight, u * (rows + 4) * rows * d * n, "dweight " + what);
      EXPECT_EQ(again.dx, got.dx) << "in place, " << what;
      EXPECT_EQ(again.dweight, got.dweight) << "the same sums in every run, " << what;
    }
  }
}

// A layer norm on the tape, f64, with a loss that is linear in both outputs.
struct Case {
  bool delta;
  bool use_sum;
  bool use_normalized;
};

class RmsNormTape : public ::testing::TestWithParam<Case> {};

TEST_P(RmsNormTape, GradientsMatchDifferences) {
  const Case& c = GetParam();
  TestContext context;
  for (int64_t width : {1, 3, 17, 63}) {
    const Shape shape = {3, width};
    const Tensor x = RandomTensor(context, shape, DType::kF64, 1);
    const Tensor delta = c.delta ? RandomTensor(context, shape, DType::kF64, 2) : Tensor();
    Weight weight;
    weight.master = weight.compute = RandomTensor(context, {width}, DType::kF64, 3);
    weight.gradient = context.get().Zeros({width}, DType::kF64);
    weight.trained = true;
    const Tensor sum_factor = RandomTensor(context, shape, DType::kF64, 4);
    const Tensor norm_factor = RandomTensor(context, shape, DType::kF64, 5);

    Tape tape(context, Tape::Mode::kRecord);
    const Var x_var = tape.Leaf(x);
    const Var delta_var = c.delta ? tape.Leaf(delta) : Var();
    const ops::ResidualNorm out = ops::AddRmsNorm(tape, x_var, delta_var, weight, kEps, DType::kF64);
    // Gradients come in another shape, and are held by somebody else: they must not be written.
    if (c.use_sum) out.sum.slot->Accumulate(context, sum_factor.Reshape({width, 3}));
    if (c.use_normalized) out.normalized.slot->Accumulate(context, norm_factor.Reshape({3 * width}));
    const std::vector<double> sum_before = ToDoubles(context, sum_factor);
    tape.Backward();
    EXPECT_EQ(ToDoubles(context, sum_factor), sum_before);

    const auto loss = [&] {
      Tape evaluate(context, Tape::Mode::kEvaluate);
      const ops::ResidualNorm y = ops::AddRmsNorm(evaluate, Var(x), Var(delta), weight, kEps, DType::kF64);
      return (c.use_sum ? WeightedSum(context, y.sum.value, sum_factor) : 0) +
             (c.use_normalized ? WeightedSum(context, y.normalized.value, norm_factor) : 0);
    };
    ExpectGradient(context, x, x_var.slot->gradient(), loss, absl::StrCat("x, width ", width));
    if (c.delta) ExpectGradient(context, delta, delta_var.slot->gradient(), loss, absl::StrCat("delta, width ", width));
    ExpectGradient(context, weight.master, weight.gradient, loss, absl::StrCat("weight, width ", width));
  }
}

INSTANTIATE_TEST_SUITE_P(Uses, RmsNormTape,
                         ::testing::Values(Case{true, true, true}, Case{true, true, false}, Case{true, false, true},
                                           Case{false, true, true}, Case{false, true, false}, Case{false, false, true}),
                         [](const ::testing::TestParamInfo<Case>& info) {
                           return absl::StrCat(info.param.delta ? "Delta" : "NoDelta", info.param.use_sum ? "Sum" : "",
                                               info.param.use_normalized ? "Normalized" : "");
                         });

// A chain of two: the sum feeds the next addition, as in a layer.
TEST(RmsNorm, ResidualChainOnTheTape) {
  TestContext context;
  const Shape shape = {4, 17};
  const Tensor x = RandomTensor(context, shape, DType::kF64, 1);
  Weight weight;
  weight.master = weight.compute = RandomTensor(context, {17}, DType::kF64, 2);
  weight.gradient = context.get().Zeros({17}, DType::kF64);
  weight.trained = true;
  const Tensor factor = RandomTensor(context, shape, DType::kF64, 3);
  const auto forward = [&](Tape& tape, const Var& input) {
    const ops::ResidualNorm first = ops::AddRmsNorm(tape, input, Var(), weight, kEps, DType::kF64);
    const ops::ResidualNorm second = ops::AddRmsNorm(tape, first.sum, first.normalized, weight, kEps, DType::kF64);
    return ops::AddRmsNorm(tape, second.sum, second.normalized, weight, kEps, DType::kF64).normalized;
  };
  Tape tape(context, Tape::Mode::kRecord);
  const Var leaf = tape.Leaf(x);
  forward(tape, leaf).slot->Accumulate(context, factor);
  tape.Backward();
  const auto loss = [&] {
    Tape evaluate(context, Tape::Mode::kEvaluate);
    return WeightedSum(context, forward(evaluate, Var(x)).value, factor);
  };
  ExpectGradient(context, x, leaf.slot->gradient(), loss, "x");
  ExpectGradient(context, weight.master, weight.gradient, loss, "weight");
}

TEST(RmsNorm, NarrowDeltaGetsConvertedGradient) {
  TestContext context;
  const Shape shape = {3, 17};
  Weight weight;
  weight.master = weight.compute = RandomTensor(context, {17}, DType::kF32, 1);
  for (bool use_normalized : {false, true}) {  // gradient of the weight undefined: frozen
    Tape tape(context, Tape::Mode::kRecord);
    const Var x = tape.Leaf(RandomTensor(context, shape, DType::kF32, 2));
    const Var delta = tape.Leaf(RandomTensor(context, shape, DType::kBF16, 3));
    const ops::ResidualNorm out = ops::AddRmsNorm(tape, x, delta, weight, kEps, DType::kBF16);
    out.sum.slot->Accumulate(context, RandomTensor(context, shape, DType::kF32, 4));
    if (use_normalized) out.normalized.slot->Accumulate(context, RandomTensor(context, shape, DType::kBF16, 5));
    tape.Backward();
    ASSERT_TRUE(x.slot->gradient().defined());
    ASSERT_EQ(x.slot->gradient().dtype(), DType::kF32);
    ASSERT_EQ(delta.slot->gradient().dtype(), DType::kBF16);
    EXPECT_EQ(ToDoubles(context, delta.slot->gradient()),
              ToDoubles(context, Converted(context, x.slot->gradient(), DType::kBF16)));
  }
}

TEST(RmsNorm, GradientsOfXAndDeltaAreIndependent) {
  TestContext context;
  const Shape shape = {2, 3};
  Weight weight;
  weight.master = weight.compute = RandomTensor(context, {3}, DType::kF32, 1);
  Tape tape(context, Tape::Mode::kRecord);
  const Var x = tape.Leaf(RandomTensor(context, shape, DType::kF32, 2));
  const Var delta = tape.Leaf(RandomTensor(context, shape, DType::kF32, 3));
  const ops::ResidualNorm out = ops::AddRmsNorm(tape, x, delta, weight, kEps, DType::kF32);
  out.normalized.slot->Accumulate(context, RandomTensor(context, shape, DType::kF32, 4));
  tape.Backward();
  const std::vector<double> before = ToDoubles(context, x.slot->gradient());
  EXPECT_EQ(ToDoubles(context, delta.slot->gradient()), before);
  delta.slot->Accumulate(context, RandomTensor(context, shape, DType::kF32, 5));
  EXPECT_EQ(ToDoubles(context, x.slot->gradient()), before);
  EXPECT_NE(ToDoubles(context, delta.slot->gradient()), before);
}

TEST(RmsNorm, WithoutArrivingGradientsNothingIsContributed) {
  TestContext context;
  Weight weight;
  weight.master = weight.compute = RandomTensor(context, {3}, DType::kF32, 1);
  weight.gradient = context.get().Zeros({3}, DType::kF32);
  weight.trained = true;
  for (bool with_delta : {false, true}) {
    Tape tape(context, Tape::Mode::kRecord);
    const Var x = tape.Leaf(RandomTensor(context, {2, 3}, DType::kF32, 2));
    const Var delta = with_delta ? tape.Leaf(RandomTensor(context, {2, 3}, DType::kF32, 3)) : Var();
    ops::AddRmsNorm(tape, x, delta, weight, kEps, DType::kF32);
    tape.Backward();
    EXPECT_FALSE(x.slot->gradient().defined());
    EXPECT_FALSE(with_delta && delta.slot->gradient().defined());
  }
  EXPECT_EQ(ToDoubles(context, weight.gradient), std::vector<double>(3, 0.0));
}

TEST(RmsNorm, WeightAloneIsTrained) {
  TestContext context;
  const Tensor x = RandomTensor(context, {3, 5}, DType::kF64, 1),
               factor = RandomTensor(context, {3, 5}, DType::kF64, 2);
  Weight weight;
  weight.master = weight.compute = RandomTensor(context, {5}, DType::kF64, 3);
  weight.gradient = context.get().Zeros({5}, DType::kF64);
  weight.trained = true;
  Tape tape(context, Tape::Mode::kRecord);
  const ops::ResidualNorm out = ops::AddRmsNorm(tape, Var(x), Var(), weight, kEps, DType::kF64);
  EXPECT_FALSE(out.sum.needs_gradient());
  out.normalized.slot->Accumulate(context, factor);
  tape.Backward();
  ExpectGradient(
      context, weight.master, weight.gradient,
      [&] {
        const Tensor y = context.get().Empty({3, 5}, DType::kF64);
        ops::RmsNormForward(context, x, Tensor(), weight.master, kEps, Tensor(), y, Tensor());
        return WeightedSum(context, y, factor);
      },
      "weight");
}

TEST(RmsNorm, SameBitsForAnyThreadsAndNeighbours) {
  TestContext context;
  const Context& c = context;
  const int64_t rows = 1000, width = 200;
  const Tensor x = RandomTensor(c, {rows, width}, DType::kF32, 1), weight = RandomTensor(c, {width}, DType::kF32, 2);
  const Tensor dy = RandomTensor(c, {rows, width}, DType::kF32, 3);
  struct Outputs {
    std::vector<double> y, dx, dweight;
  };
  const auto run = [&](int64_t begin, int64_t end) {
    const int64_t n = end - begin;
    const Tensor y = c.Empty({n, width}, DType::kF32), rstd = c.Empty({n}, DType::kF32);
    const Tensor dx = c.Empty({n, width}, DType::kF32), dweight = c.Zeros({width}, DType::kF32);
    ops::RmsNormForward(c, x.Rows(begin, end), Tensor(), weight, kEps, Tensor(), y, rstd);
    ops::RmsNormBackward(c, dy.Rows(begin, end), x.Rows(begin, end), weight, rstd, Tensor(), dx, Tensor(), dweight);
    return Outputs{ToDoubles(c, y), ToDoubles(c, dx), ToDoubles(c, dweight)};
  };
  const int threads = omp_get_max_threads();
  omp_set_num_threads(1);
  const Outputs one = run(0, rows);
  omp_set_num_threads(5);
  const Outputs five = run(0, rows);
  omp_set_num_threads(threads);
  EXPECT_EQ(one.y, five.y);
  EXPECT_EQ(one.dx, five.dx);
  EXPECT_EQ(one.dweight, five.dweight);
  const Outputs alone = run(7, 8);
  EXPECT_TRUE(std::equal(alone.y.begin(), alone.y.end(), one.y.begin() + 7 * width));
  EXPECT_TRUE(std::equal(alone.dx.begin(), alone.dx.end(), one.dx.begin() + 7 * width));
}

// Widths of a warp's rows and of a block's, and of what goes element by element.
TEST(RmsNorm, SameBitsInEveryOrder) {
  for (const auto& [rows, width] : {std::pair<int64_t, int64_t>{120, 200}, {15, 1664}, {6, 77}}) {
    const std::vector<double> values = InEveryOrder([rows = rows, width = width] {
      TestContext context;
      const Context& c = context;
      const Shape shape = {rows, width};
      const Tensor x = RandomTensor(c, shape, DType::kF32, 1), delta = RandomTensor(c, shape, DType::kBF16, 2);
      const Tensor weight = RandomTensor(c, {width}, DType::kF32, 3), dy = RandomTensor(c, shape, DType::kBF16, 4);
      const Tensor sum = c.Empty(shape, DType::kF32), y = c.Empty(shape, DType::kBF16);
      const Tensor rstd = c.Empty({rows}, DType::kF32), dweight = c.Zeros({width}, DType::kF32);
      ops::RmsNormForward(c, x, delta, weight, kEps, sum, y, rstd);
      ops::RmsNormBackward(c, dy, sum, weight, rstd, x, x, delta, dweight);
      std::vector<double> all;
      for (const Tensor& t : {sum, y, rstd, x, delta, dweight}) {
        const std::vector<double> part = ToDoubles(c, t);
        all.insert(all.end(), part.begin(), part.end());
      }
      return all;
    });
    EXPECT_FALSE(values.empty());
  }
}

TEST(RmsNorm, NoRows) {
  TestContext context;
  Weight weight;
  weight.master = weight.compute = RandomTensor(context, {3}, DType::kF32, 1);
  weight.gradient = context.get().Zeros({3}, DType::kF32);
  weight.trained = true;
  Tape tape(context, Tape::Mode::kRecord);
  const Var x = tape.Leaf(context.get().Empty({0, 3}, DType::kF32));
  const ops::ResidualNorm out = ops::AddRmsNorm(tape, x, Var(), weight, kEps, DType::kBF16);
  out.normalized.slot->Accumulate(context, context.get().Empty({0, 3}, DType::kBF16));
  tape.Backward();
  EXPECT_EQ(x.slot->gradient().shape(), (Shape{0, 3}));
  EXPECT_EQ(ToDoubles(context, weight.gradient), std::vector<double>(3, 0.0));
}

TEST(RmsNorm, ZeroAndHugeRows) {
  TestContext context;
  const Context& c = context;
  // 1e18: its square still fits f32. Zeros: eps keeps the norm finite.
  const Tensor x = FromDoubles(c, {0, 0, 0, 0, 1e18, -1e18, 1e18, 1e18}, {2, 4}, DType::kF32);
  const Tensor weight = FromDoubles(c, {1, 1, 1, 1}, {4}, DType::kF32);
  const Tensor y = c.Empty({2, 4}, DType::kF32);
  ops::RmsNormForward(c, x, Tensor(), weight, kEps, Tensor(), y, Tensor());
  ExpectNear(ToDoubles(c, y), {0, 0, 0, 0, 1, -1, 1, 1}, 14 * UnitRoundoff(DType::kF32), "y");
}

TEST(RmsNormDeathTest, MismatchNamesOperands) {
  TestContext context;
  const Context& c = context;
  const Tensor x = c.Zeros({2, 3}, DType::kF32), weight = c.Zeros({4}, DType::kF32), y = c.Zeros({2, 3}, DType::kF32);
  EXPECT_EXIT(ops::RmsNormForward(c, x, Tensor(), weight, kEps, Tensor(), y, Tensor()), ::testing::ExitedWithCode(1),
              "\\[rms_norm\\].*f32\\[2, 3\\].*f32\\[4\\]");
}

}  // namespace
}  // namespace photon
