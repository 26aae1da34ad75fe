#include "core/ops/rope.h"

#include <gtest/gtest.h>

#include <cmath>
#include <complex>

#include "tests/support/tensors.h"

namespace photon {
namespace {

using testing::ExpectNear;
using testing::InEveryOrder;
using testing::IntTensor;
using testing::RandomTensor;
using testing::TestContext;
using testing::ToDoubles;
using testing::UnitRoundoff;

constexpr double kTheta = 1e4;

DType TableType(DType dtype) { return dtype == DType::kF64 ? DType::kF64 : DType::kF32; }

// Every pair as a complex number, turned by exp(i p w).
std::vector<double> Rotated(std::vector<double> x, int64_t columns, int64_t d, const std::vector<int32_t>& positions) {
  for (size_t row = 0; row < positions.size(); ++row) {
    for (int64_t i = 0; i < columns; ++i) {
      if (i % d >= d / 2) continue;
      double& re = x[row * columns + i];
      double& im = x[row * columns + i + d / 2];
      const double angle = positions[row] * std::pow(kTheta, -2.0 * (i % d) / d);
      const std::complex<double> turned = std::complex<double>(re, im) * std::polar(1.0, angle);
      re = turned.real();
      im = turned.imag();
    }
  }
  return x;
}

struct RopeCase {
  int64_t heads, head_dim;
};

class RopeTest : public ::testing::TestWithParam<std::tuple<RopeCase, DType, int64_t>> {};
INSTANTIATE_TEST_SUITE_P(Shapes, RopeTest,
                         ::testing::Combine(::testing::Values(RopeCase{3, 64}, RopeCase{2, 52}, RopeCase{5, 20},
                                                              RopeCase{4, 6}, RopeCase{3, 56}, RopeCase{3, 60},
                                                              RopeCase{1, 2}, RopeCase{2, 128}, RopeCase{3, 34},
                                                              RopeCase{2, 16}),
                                            ::testing::Values(DType::kF64, DType::kF32, DType::kBF16),
                                            // Columns beside x: rows not aligned, and aligned to 16 bytes.
                                            ::testing::Values<int64_t>(5, 8)));

TEST_P(RopeTest, MatchesComplexRotationOnStridedRowsAndInverts) {
  const TestContext context;
  const auto& [c, dtype, margin] = GetParam();
  std::vector<int32_t> positions = {0, 7, 2, 2, 1999, 3, 0};
  if (margin == 8) positions.resize(150, 11);  // more than the threads of a GPU's grid, for the wider cases
  const int64_t columns = c.heads * c.head_dim, stride = columns + 2 * margin;
  const int64_t rows = static_cast<int64_t>(positions.size());
  const Tensor wide = RandomTensor(context, {rows, stride}, dtype, 3);
  const std::vector<double> before = ToDoubles(context, wide);
  const Tensor x = wide.Columns(margin, columns + margin);
  const std::vector<double> inside = ToDoubles(context, x);
  const Tensor table = ops::RopeTable(context, 2000, c.head_dim, kTheta, TableType(dtype));
  ops::Rope(context, x, c.head_dim, IntTensor(context, positions), table, /*inverse=*/false);

  double largest = 0;
  for (double e : inside) largest = std::max(largest, std::abs(e));
  // A rotated number is two products of numbers within `largest` and factors within 1, each factor and operation
  // rounded once: 2 * 3 u; storing rounds what is within sqrt(2) largest. In f64 the reference itself rounds the angle:
  // 2000 u.
  const double u = UnitRoundoff(TableType(dtype));
  const double bound = largest * (6 * u + 1.5 * UnitRoundoff(dtype) + (dtype == DType::kF64 ? 2 * 2000 * u : 0));
  ExpectNear(ToDoubles(context, x), Rotated(inside, columns, c.head_dim, positions), bound, "rotated");

  ops::Rope(context, x, c.head_dim, IntTensor(context, positions), table, /*inverse=*/true);
  std::vector<double> after = ToDoubles(context, wide);
  ExpectNear(ToDoubles(context, x), inside, 3 * bound, "rotated back");  // the first error grows by sqrt(2) at most
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t j = 0; j < stride; ++j) {
      if (j >= margin && j < columns + margin) continue;
      EXPECT_EQ(after[row * stride + j], before[row * stride + j]) << "written beside the columns";
    }
  }
}

// Scores depend on differences of positions alone: the property that documents at any offset rely on.
TEST(Rope, ProductsDependOnDistance) {
  const TestContext context;
  const int64_t d = 20;
  const Tensor table = ops::RopeTable(context, 600, d, kTheta, DType::kF64);
  const auto product = [&](int32_t p, int32_t q) {
    const Tensor x = RandomTensor(context, {2, d}, DType::kF64, 9);
    ops::Rope(context, x, d, IntTensor(context, {p, q}), table, false);
    const std::vector<double> rows = ToDoubles(context, x);
    double sum = 0;
    for (int64_t i = 0; i < d; ++i) sum += rows[i] * rows[d + i];
    return sum;
  };
  EXPECT_NEAR(product(3, 10), product(503, 510), 1e-11);  // d products, angles within 600 rounded to 2^-53
  EXPECT_GT(std::abs(product(3, 10) - product(3, 11)), 1e-3);
}

TEST(Rope, SameBitsInEveryOrder) {
  InEveryOrder([] {
    const TestContext context;
    const Tensor x = RandomTensor(context, {50, 3 * 52}, DType::kBF16, 1);
    ops::Rope(context, x, 52, IntTensor(context, std::vector<int32_t>(50, 7)),
              ops::RopeTable(context, 8, 52, kTheta, DType::kF32), false);
    return ToDoubles(context, x);
  });
}

TEST(RopeTable, IsRoundedFromDouble) {
  const TestContext context;
  const std::vector<double> table = ToDoubles(context, ops::RopeTable(context, 5000, 6, kTheta, DType::kF32));
  const int64_t p = 4999;
  for (int i = 0; i < 3; ++i) {
    const double angle = p * std::pow(kTheta, -2.0 * i / 6);
    EXPECT_EQ(table[p * 6 + i], static_cast<float>(std::cos(angle)));
    EXPECT_EQ(table[p * 6 + 3 + i], static_cast<float>(std::sin(angle)));
  }
}

TEST(RopeDeathTest, NamesOperationAndShapes) {
  const TestContext context;
  const Tensor table = ops::RopeTable(context, 4, 8, kTheta, DType::kF32);
  const Tensor x = RandomTensor(context, {2, 12}, DType::kF32, 1);
  EXPECT_EXIT(ops::Rope(context, x, 8, IntTensor(context, {0, 1}), table, false), ::testing::ExitedWithCode(1),
              "\\[rope\\] x f32\\[2, 12\\] on .*:0, head_dim 8");
}

}  // namespace
}  // namespace photon
