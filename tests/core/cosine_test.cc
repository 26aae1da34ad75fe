#include "core/ops/cosine.h"

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

struct Reference {
  std::vector<double> distance, da;
  double inverse = 0;  // the largest 1 / |a|
};

Reference Cosine(const std::vector<double>& a, const std::vector<double>& b, const std::vector<double>& scale) {
  Reference r;
  const int64_t width = a.size() / scale.size();
  for (size_t i = 0; i < scale.size(); ++i) {
    const double *x = a.data() + i * width, *y = b.data() + i * width;
    double aa = 0, bb = 0, ab = 0;
    for (int64_t j = 0; j < width; ++j) {
      aa += x[j] * x[j];
      bb += y[j] * y[j];
      ab += x[j] * y[j];
    }
    const double na = std::sqrt(aa), nb = std::sqrt(bb), cosine = ab / (na * nb);
    r.distance.push_back(1 - cosine);
    for (int64_t j = 0; j < width; ++j) r.da.push_back(scale[i] * (cosine * x[j] / aa - y[j] / (na * nb)));
    r.inverse = std::max(r.inverse, 1 / na);
  }
  return r;
}

TEST(Cosine, MatchesDouble) {
  TestContext context;
  const Context& c = context;
  for (DType dtype : {DType::kF64, DType::kF32}) {
    // The last three are rows that a GPU gives to several warps, in vectors and not, and some that its registers can't
    // hold.
    for (int64_t width : {1, 3, 17, 63, 200, 1000, 2057, 8200}) {
      const int64_t rows = 9;
      const Tensor a = RandomTensor(c, {rows, width}, dtype, 1), b = RandomTensor(c, {rows, width}, dtype, 2);
      const Tensor scale = RandomTensor(c, {rows}, dtype, 3), distance = c.Empty({rows}, dtype);
      const Tensor da = c.Empty({rows, width}, dtype), db = c.Empty({rows, width}, dtype);
      const Reference of_a = Cosine(ToDoubles(c, a), ToDoubles(c, b), ToDoubles(c, scale));
      const Reference of_b = Cosine(ToDoubles(c, b), ToDoubles(c, a), ToDoubles(c, scale));
      // Each of the three sums has W roundings of terms whose absolute values sum to at most |a| |b|: the cosine is off
      // by 2 (W + 5) u. The gradient: that times scale / |x|, for each of its two terms.
      const double bound = 2 * (width + 5) * UnitRoundoff(dtype);
      double largest_scale = 0;
      for (double s : ToDoubles(c, scale)) largest_scale = std::max(largest_scale, std::abs(s));
      const std::string what = absl::StrCat(Name(dtype), " width ", width);
      ops::CosineForward(c, a, b, Tensor(), distance, Tensor(), Tensor());
      ExpectNear(ToDoubles(c, distance), of_a.distance, bound, "distance alone, " + what);
      ops::CosineForward(c, a, b, scale, distance, da, db);
      ExpectNear(ToDoubles(c, distance), of_a.distance, bound, "distance " + what);
      ExpectNear(ToDoubles(c, da), of_a.da, 2 * bound * largest_scale * of_a.inverse, "da " + what);
      ExpectNear(ToDoubles(c, db), of_b.da, 2 * bound * largest_scale * of_b.inverse, "db " + what);
    }
  }
}

TEST(Cosine, GradientsOnTheTape) {
  TestContext context;
  for (int64_t width : {2, 3, 17, 63}) {
    const Tensor a = RandomTensor(context, {4, width}, DType::kF64, 1),
                 b = RandomTensor(context, {4, width}, DType::kF64, 2);
    const Tensor scale = RandomTensor(context, {4}, DType::kF64, 3), distance = context.get().Empty({4}, DType::kF64);
    const auto loss = [&] {
      Tape evaluate(context, Tape::Mode::kEvaluate);
      ops::CosineDistance(evaluate, Var(a), Var(b), scale, distance);
      return WeightedSum(context, distance, scale);
    };
    for (const auto& [of_a, of_b] : {std::pair(true, true), {true, false}, {false, true}}) {
      Tape tape(context, Tape::Mode::kRecord);
      const Var va = tape.Leaf(a), vb = tape.Leaf(b);
      ops::CosineDistance(tape, of_a ? va : va.Detach(), of_b ? vb : vb.Detach(), scale, distance);
      tape.Backward();
      EXPECT_EQ(va.slot->gradient().defined(), of_a);
      EXPECT_EQ(vb.slot->gradient().defined(), of_b);
      if (of_a) ExpectGradient(context, a, va.slot->gradient(), loss, absl::StrCat("a, width ", width));
      if (of_b) ExpectGradient(context, b, vb.slot->gradient(), loss, absl::StrCat("b, width ", width));
    }
  }
}

// Below the floor the distance is 1 - a b / (1e-8 |b|): linear in a, so its gradient is -b / (1e-8 |b|), and that of b
// knows the floored norm of a.
TEST(Cosine, FlooredNormIsAConstant) {
  TestContext context;
  const Context& c = context;
  for (DType dtype : {DType::kF64, DType::kF32}) {
    const Tensor a = FromDoubles(c, {0, 0, 3e-9, 0}, {2, 2}, dtype), b = FromDoubles(c, {3, 4, 3, 4}, {2, 2}, dtype);
    const Tensor scale = FromDoubles(c, {2, 1}, {2}, dtype), distance = c.Empty({2}, dtype);
    const Tensor da = c.Empty({2, 2}, dtype), db = c.Empty({2, 2}, dtype);
    ops::CosineForward(c, a, b, scale, distance, da, db);
    const double u = 10 * UnitRoundoff(dtype);
    ExpectNear(ToDoubles(c, distance), {1, 1 - 0.3 * 0.6}, u, "distance");
    ExpectNear(ToDoubles(c, da), {-2 * 0.6e8, -2 * 0.8e8, -0.6e8, -0.8e8}, 2e8 * u, "da");
    // db = cos b / |b|^2 - a / (1e-8 |b|), cos = 0.18
    ExpectNear(ToDoubles(c, db), {0, 0, 0.18 * 3 / 25 - 0.3 / 5, 0.18 * 4 / 25}, u, "db");
  }
}

TEST(Cosine, ParallelAndOpposite) {
  TestContext context;
  const Context& c = context;
  const Tensor a = FromDoubles(c, {1, 2, 2, 1, 2, 2}, {2, 3}, DType::kF32);
  const Tensor b = FromDoubles(c, {10, 20, 20, -1, -2, -2}, {2, 3}, DType::kF32);
  const Tensor scale = FromDoubles(c, {1, 1}, {2}, DType::kF32), distance = c.Empty({2}, DType::kF32);
  const Tensor da = c.Empty({2, 3}, DType::kF32);
  ops::CosineForward(c, a, b, scale, distance, da, Tensor());
  const double bound = 16 * UnitRoundoff(DType::kF32);
  ExpectNear(ToDoubles(c, distance), {0, 2}, bound, "distance");
  ExpectNear(ToDoubles(c, da), std::vector<double>(6, 0.0), bound, "da");
}

TEST(Cosine, NoOrderOfThreadsChangesABit) {
  TestContext context;
  const Context& c = context;
  for (const int64_t width : {20, 1000}) {
    const Tensor a = RandomTensor(c, {3, width}, DType::kF32, 1), b = RandomTensor(c, {3, width}, DType::kF32, 2);
    const Tensor scale = RandomTensor(c, {3}, DType::kF32, 3);
    InEveryOrder([&] {
      const Tensor distance = c.Empty({3}, DType::kF32), da = c.Empty({3, width}, DType::kF32);
      ops::CosineForward(c, a, b, scale, distance, da, Tensor());
      std::vector<double> all = ToDoubles(c, da);
      for (double v : ToDoubles(c, distance)) all.push_back(v);
      return all;
    });
  }
}

TEST(Cosine, NoRowsAndNoScale) {
  TestContext context;
  const Context& c = context;
  const Tensor none = c.Empty({0, 4}, DType::kF32), empty = c.Empty({0}, DType::kF32);
  ops::CosineForward(c, none, none, empty, empty, none, none);
  Tape tape(context, Tape::Mode::kRecord);
  const Var a = tape.Leaf(RandomTensor(c, {2, 4}, DType::kF32, 1)), b(RandomTensor(c, {2, 4}, DType::kF32, 2));
  const Tensor distance = c.Empty({2}, DType::kF32);
  ops::CosineDistance(tape, a, b, Tensor(), distance);  // scored, not trained
  tape.Backward();
  EXPECT_FALSE(a.slot->gradient().defined());
  for (double d : ToDoubles(c, distance)) EXPECT_TRUE(d >= 0 && d <= 2);
}

TEST(CosineDeathTest, MismatchNamesOperands) {
  TestContext context;
  const Context& c = context;
  const Tensor a = c.Zeros({2, 3}, DType::kF32), b = c.Zeros({2, 4}, DType::kF32), d = c.Zeros({2}, DType::kF32);
  EXPECT_EXIT(ops::CosineForward(c, a, b, Tensor(), d, Tensor(), Tensor()), ::testing::ExitedWithCode(1),
              "\\[cosine\\].*f32\\[2, 3\\].*f32\\[2, 4\\]");
}

}  // namespace
}  // namespace photon
