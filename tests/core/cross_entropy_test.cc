#include "core/ops/cross_entropy.h"

#include <gtest/gtest.h>
#include <omp.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "absl/strings/str_cat.h"
#include "core/ops/elementwise.h"
#include "tests/support/tensors.h"

namespace photon {
namespace {

using testing::ExpectGradient;
using testing::ExpectNear;
using testing::FromDoubles;
using testing::InEveryOrder;
using testing::IntTensor;
using testing::RandomTensor;
using testing::TestContext;
using testing::ToDoubles;
using testing::UnitRoundoff;

constexpr DType kTypes[] = {DType::kF64, DType::kF32, DType::kBF16};
constexpr double kInfinity = std::numeric_limits<double>::infinity();

DType Wide(DType dtype) { return dtype == DType::kF64 ? DType::kF64 : DType::kF32; }

struct Reference {
  std::vector<double> nll, gradient;
  double largest = 0;  // of |logits|
};

Reference Softmax(const std::vector<double>& logits, const std::vector<int32_t>& target,
                  const std::vector<double>& scale) {
  Reference r;
  const int64_t width = logits.size() / target.size();
  for (size_t i = 0; i < target.size(); ++i) {
    const double* row = logits.data() + i * width;
    const double max = *std::max_element(row, row + width);
    double sum = 0;
    for (int64_t j = 0; j < width; ++j) sum += std::exp(row[j] - max);
    const double lse = max + std::log(sum);
    r.nll.push_back(target[i] < 0 ? 0 : lse - row[target[i]]);
    for (int64_t j = 0; j < width; ++j) {
      r.gradient.push_back(target[i] < 0 ? 0 : scale[i] * (std::exp(row[j] - lse) - (j == target[i] ? 1 : 0)));
      r.largest = std::max(r.largest, std::abs(row[j]));
    }
  }
  return r;
}

// Errors, with u of the arithmetic. A probability exp(x - max) / sum: x - max is rounded, so exp is off by up to
// 2 largest u, relative; exp itself 4 u; the sum, a block of 64 vectors at a time: (64 + V / 1024 + 8) u; three more
// operations. nll: the same for the sum, absolute, and two roundings of numbers up to 2 largest.
double RelativeBound(DType dtype, const Reference& r, int64_t width) {
  return UnitRoundoff(Wide(dtype)) * (4 * r.largest + 4 + 72 + width / 1024.0 + 8);
}

void ExpectMatches(const Context& c, const Tensor& logits, const std::vector<int32_t>& target,
                   const std::string& what) {
  const int64_t rows = logits.dim(0), width = logits.dim(1);
  const DType dtype = logits.dtype();
  const Tensor scale = RandomTensor(c, {rows}, Wide(dtype), 77), nll = c.Empty({rows}, Wide(dtype));
  const Reference want = Softmax(ToDoubles(c, logits), target, ToDoubles(c, scale));
  const double relative = RelativeBound(dtype, want, width);
  double largest_nll = 0, largest_scale = 0;
  for (double v : want.nll) largest_nll = std::max(largest_nll, v);
  for (double s : ToDoubles(c, scale)) largest_scale = std::max(largest_scale, std::abs(s));
  const double nll_bound = relative + UnitRoundoff(Wide(dtype)) * largest_nll;

  const std::vector<double> before = ToDoubles(c, logits);
  ops::CrossEntropyForward(c, logits, IntTensor(c, target), Tensor(), nll);
  ExpectNear(ToDoubles(c, nll), want.nll, nll_bound, "nll without scale, " + what);
  EXPECT_EQ(ToDoubles(c, logits), before) << what;

  ops::CrossEntropyForward(c, logits, IntTensor(c, target), scale, nll);
  ExpectNear(ToDoubles(c, nll), want.nll, nll_bound, "nll " + what);
  ExpectNear(ToDoubles(c, logits), want.gradient, largest_scale * (relative + UnitRoundoff(dtype)), "gradient " + what);
}

TEST(CrossEntropy, MatchesDouble) {
  TestContext context;
  for (DType dtype : kTypes) {
    // Of the last two a GPU holds a row of f32 and of bf16 in nearly all shared memory that there is without asking.
    for (int64_t width : {1, 3, 17, 63, 64, 200, 1025, 5000, 12'288, 24'576}) {
      for (double size : {1.0, 30.0}) {
        const Tensor logits = RandomTensor(context, {4, width}, dtype, width, size);
        const auto last = static_cast<int32_t>(width - 1);
        ExpectMatches(context, logits, {0, -1, last, last / 2}, absl::StrCat(Name(dtype), " V ", width, " x ", size));
      }
    }
  }
}

TEST(CrossEntropy, WideVocabulary) {
  TestContext context;
  const int64_t width = 128 * 1024 + 5;
  for (DType dtype : {DType::kF32, DType::kBF16}) {
    ExpectMatches(context, RandomTensor(context, {2, width}, dtype, 1), {131076, 7}, std::string(Name(dtype)));
  }
}

// The maximum grows again and again: every block rescales the sum of those before.
TEST(CrossEntropy, AscendingLogits) {
  TestContext context;
  std::vector<double> values(6000);
  for (size_t i = 0; i < values.size(); ++i) values[i] = -300 + 0.1 * i;
  for (DType dtype : {DType::kF64, DType::kF32}) {
    ExpectMatches(context, FromDoubles(context, values, {1, 6000}, dtype), {5990}, "ascending");
    std::reverse(values.begin(), values.end());
    ExpectMatches(context, FromDoubles(context, values, {1, 6000}, dtype), {3}, "descending");
    std::reverse(values.begin(), values.end());
  }
}

TEST(CrossEntropy, HugeLogitsDoNotOverflow) {
  TestContext context;
  const Context& c = context;
  for (DType dtype : kTypes) {
    // 9984 and 10048 are bf16 numbers.
    const Tensor logits = FromDoubles(c, {9984, 10048, -10048, 10048, -10048, -10048}, {2, 3}, dtype);
    const Tensor nll = c.Empty({2}, Wide(dtype)), scale = FromDoubles(c, {1, 2}, {2}, Wide(dtype));
    ops::CrossEntropyForward(c, logits, IntTensor(c, {0, 0}), scale, nll);
    ExpectNear(ToDoubles(c, nll), {64, 0}, 1e-25, "nll");
    ExpectNear(ToDoubles(c, logits), {-1, 1, 0, 0, 0, 0}, 1e-25, "gradient");
  }
}

TEST(CrossEntropy, EqualLogits) {
  TestContext context;
  const Context& c = context;
  for (DType dtype : kTypes) {
    for (double value : {0.0, -5.0, 1024.0}) {
      const Tensor logits = FromDoubles(c, std::vector<double>(64, value), {1, 64}, dtype);
      const Tensor nll = c.Empty({1}, Wide(dtype));
      ops::CrossEntropyForward(c, logits, IntTensor(c, {63}), FromDoubles(c, {1}, {1}, Wide(dtype)), nll);
      ExpectNear(ToDoubles(c, nll), {std::log(64.0)}, 8 * UnitRoundoff(Wide(dtype)), "nll");
      std::vector<double> want(64, 1 / 64.0);
      want[63] -= 1;
      ExpectNear(ToDoubles(c, logits), want, 8 * UnitRoundoff(Wide(dtype)) + UnitRoundoff(dtype), "gradient");
    }
  }
}

TEST(CrossEntropy, UnscoredRowsAreExactlyZero) {
  TestContext context;
  const Context& c = context;
  for (DType dtype : kTypes) {
    std::vector<double> values(3 * 17, kInfinity);
    values[18] = -kInfinity;
    values[40] = std::nan("");
    const Tensor logits = FromDoubles(c, values, {3, 17}, dtype);
    const Tensor nll = c.Empty({3}, Wide(dtype)), scale = FromDoubles(c, {1, kInfinity, 1}, {3}, Wide(dtype));
    ops::CrossEntropyForward(c, logits, IntTensor(c, {-1, -1, -1}), scale, nll);
    EXPECT_EQ(ToDoubles(c, nll), std::vector<double>(3, 0.0));
    EXPECT_EQ(ToDoubles(c, logits), std::vector<double>(3 * 17, 0.0));
  }
}

TEST(CrossEntropy, ImpossibleClassesAndNan) {
  TestContext context;
  const Context& c = context;
  for (DType dtype : kTypes) {
    const Tensor logits = FromDoubles(c, {0, -kInfinity, 0, 1, std::nan(""), 1}, {2, 3}, dtype);
    const Tensor nll = c.Empty({2}, Wide(dtype)), scale = FromDoubles(c, {1, 1}, {2}, Wide(dtype));
    ops::CrossEntropyForward(c, logits, IntTensor(c, {0, 0}), scale, nll);
    EXPECT_NEAR(ToDoubles(c, nll)[0], std::log(2.0), 4 * UnitRoundoff(Wide(dtype)));
    EXPECT_EQ(ToDoubles(c, logits)[1], 0);
    EXPECT_TRUE(std::isnan(ToDoubles(c, nll)[1]));  // is seen, not hidden
  }
}

TEST(CrossEntropy, GradientOnTheTape) {
  TestContext context;
  for (int64_t width : {1, 3, 17, 63}) {
    const Tensor values = RandomTensor(context, {4, width}, DType::kF64, 1, 2.0);
    const Tensor target = IntTensor(context, {0, static_cast<int32_t>(width - 1), -1, static_cast<int32_t>(width / 2)});
    const Tensor scale = RandomTensor(context, {4}, DType::kF64, 2);
    const Tensor nll = context.get().Empty({4}, DType::kF64);
    Tape tape(context, Tape::Mode::kRecord);
    Var logits = tape.Leaf(context.get().Empty({4, width}, DType::kF64));
    ops::Cast(context, values, logits.value);
    const void* memory = logits.value.raw();
    ops::CrossEntropy(tape, logits, target, scale, nll);
    EXPECT_FALSE(logits.slot->gradient().defined());  // it comes with the backward pass
    tape.Backward();
    EXPECT_EQ(logits.slot->gradient().raw(), memory);
    const auto loss = [&] {
      Tape evaluate(context, Tape::Mode::kEvaluate);
      ops::CrossEntropy(evaluate, Var(values), target, scale, nll);
      return testing::WeightedSum(context, nll, scale);
    };
    ExpectGradient(context, values, logits.slot->gradient(), loss, absl::StrCat("V ", width));
  }
}

TEST(CrossEntropy, LogitsStayWhereNoGradientIsWanted) {
  TestContext context;
  const Tensor values = RandomTensor(context, {2, 5}, DType::kF32, 1), nll = context.get().Empty({2}, DType::kF32);
  const Tensor scale = RandomTensor(context, {2}, DType::kF32, 2);
  const std::vector<double> before = ToDoubles(context, values);
  Tape tape(context, Tape::Mode::kRecord);
  const Var leaf = tape.Leaf(values);
  ops::CrossEntropy(tape, Var(values), IntTensor(context, {1, 2}), scale, nll);
  ops::CrossEntropy(tape, leaf, IntTensor(context, {1, 2}), Tensor(), nll);
  tape.Backward();
  EXPECT_EQ(ToDoubles(context, values), before);
  EXPECT_FALSE(leaf.slot->gradient().defined());
}

TEST(CrossEntropy, SameBitsForAnyThreadsAndNeighbours) {
  TestContext context;
  const Context& c = context;
  const int64_t rows = 12, width = 5003;
  const Tensor logits = RandomTensor(c, {rows, width}, DType::kF32, 1), scale = RandomTensor(c, {rows}, DType::kF32, 2);
  const Tensor target = IntTensor(c, {0, 1, 2, 3, -1, 5, 6, 7, 8, 9, 10, 11});
  const auto run = [&](int64_t begin, int64_t end) {
    const Tensor copy = c.Empty({end - begin, width}, DType::kF32), nll = c.Empty({end - begin}, DType::kF32);
    ops::Cast(c, logits.Rows(begin, end), copy);
    ops::CrossEntropyForward(c, copy, target.Rows(begin, end), scale.Rows(begin, end), nll);
    std::vector<double> all = ToDoubles(c, copy);
    for (double v : ToDoubles(c, nll)) all.push_back(v);
    return all;
  };
  const int threads = omp_get_max_threads();
  omp_set_num_threads(1);
  const std::vector<double> one = run(0, rows);
  omp_set_num_threads(3);
  const std::vector<double> three = run(0, rows);
  omp_set_num_threads(threads);
  EXPECT_EQ(one, three);
  // Row 8 begins at a multiple of 16 bytes, as a row alone does: a GPU's sums depend on that, and on nothing else.
  const std::vector<double> alone = run(8, 9);
  EXPECT_TRUE(std::equal(alone.begin(), alone.end() - 1, one.begin() + 8 * width));
  EXPECT_EQ(alone.back(), one[rows * width + 8]);
}

TEST(CrossEntropy, NoOrderOfThreadsChangesABit) {
  TestContext context;
  const Context& c = context;
  for (const int64_t width : {77, 70'003}) {  // the second: more than a GPU holds of a row
    const Tensor logits = RandomTensor(c, {3, width}, DType::kF32, 1), scale = RandomTensor(c, {3}, DType::kF32, 2);
    const Tensor target = IntTensor(c, {76, -1, 0});
    InEveryOrder([&] {
      const Tensor copy = c.Empty({3, width}, DType::kF32), nll = c.Empty({3}, DType::kF32);
      ops::Cast(c, logits, copy);
      ops::CrossEntropyForward(c, copy, target, scale, nll);
      std::vector<double> all = ToDoubles(c, copy);
      for (double v : ToDoubles(c, nll)) all.push_back(v);
      return all;
    });
  }
}

TEST(CrossEntropy, NoRows) {
  TestContext context;
  const Context& c = context;
  ops::CrossEntropyForward(c, c.Empty({0, 5}, DType::kF32), c.Empty({0}, DType::kI32), Tensor(),
                           c.Empty({0}, DType::kF32));
}

TEST(CrossEntropyDeathTest, BadOperands) {
  TestContext context;
  const Context& c = context;
  const Tensor logits = c.Zeros({2, 3}, DType::kF32), nll = c.Zeros({2}, DType::kF32);
  if (testing::OnCpu()) {
    EXPECT_EXIT(ops::CrossEntropyForward(c, logits, IntTensor(c, {0, 3}), Tensor(), nll), ::testing::ExitedWithCode(1),
                "\\[cross_entropy\\] target 3 in row 1");
  } else {
    ops::CrossEntropyForward(c, logits, IntTensor(c, {0, 3}), FromDoubles(c, {1, 1}, {2}, DType::kF32), nll);
    EXPECT_NEAR(ToDoubles(c, nll)[0], std::log(3.0), 8 * UnitRoundoff(DType::kF32));
    EXPECT_TRUE(std::isnan(ToDoubles(c, nll)[1]));
  }
  EXPECT_EXIT(ops::CrossEntropyForward(c, logits, IntTensor(c, {0}), Tensor(), nll), ::testing::ExitedWithCode(1),
              "\\[cross_entropy\\].*f32\\[2, 3\\].*i32\\[1\\]");
}

}  // namespace
}  // namespace photon
