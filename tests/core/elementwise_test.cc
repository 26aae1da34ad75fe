#include "core/ops/elementwise.h"

#include <gtest/gtest.h>
#include <omp.h>

#include <cmath>

#include "absl/strings/str_cat.h"
#include "tests/support/tensors.h"

namespace photon {
namespace {

using testing::ExpectNear;
using testing::FromDoubles;
using testing::InEveryOrder;
using testing::RandomTensor;
using testing::TestContext;
using testing::ToDoubles;
using testing::UnitRoundoff;

constexpr DType kFloats[] = {DType::kF64, DType::kF32, DType::kBF16};

// Both contiguous in one shape, either strided, beyond one thread's grain; strided with rows that are aligned to 16
// bytes, whole vectors or not, and more of them than threads in a GPU's grid.
struct Layout {
  int64_t rows, columns;
  int64_t in_margin, out_margin;
};
constexpr Layout kLayouts[] = {{1, 1, 0, 0},  {3, 17, 0, 0},  {17, 65, 5, 0},   {65, 3, 0, 2},
                               {7, 33, 1, 3}, {0, 5, 0, 0},   {301, 129, 0, 0}, {301, 129, 3, 9},
                               {9, 40, 8, 0}, {9, 40, 8, 16}, {9, 44, 8, 8},    {130, 200, 0, 8}};

Tensor Middle(const Tensor& t, int64_t margin) { return t.Columns(margin, t.dim(1) - margin); }

Tensor Filled(const Context& context, Shape shape, DType dtype, double value) {
  const std::vector<double> values(shape.elements(), value);
  return FromDoubles(context, values, std::move(shape), dtype);
}

class ElementwisePairs : public ::testing::TestWithParam<std::tuple<DType, DType>> {};

// Rounded to `dtype`, by way of `dtype`'s accumulate type, as the operation's contract says.
double RoundTo(DType dtype, double value) {
  if (dtype == DType::kF64) return value;
  if (dtype == DType::kF32) return static_cast<float>(value);
  return static_cast<double>(BFloat16(static_cast<float>(value)));
}

TEST_P(ElementwisePairs, CastRoundsOnceAndKeepsOutside) {
  const TestContext context;
  const auto [in_type, out_type] = GetParam();
  for (const Layout& l : kLayouts) {
    const Tensor in = Middle(RandomTensor(context, {l.rows, l.columns + 2 * l.in_margin}, in_type, 1), l.in_margin);
    const Tensor whole = Filled(context, {l.rows, l.columns + 2 * l.out_margin}, out_type, NAN);
    const Tensor out = Middle(whole, l.out_margin);
    ops::Cast(context, in, out);
    std::vector<double> want = ToDoubles(context, in);
    for (double& value : want) value = RoundTo(out_type, value);
    ExpectNear(ToDoubles(context, out), want, 0, absl::StrCat("cast ", in.ToString(), " to ", out.ToString()));
    for (double value : ToDoubles(context, whole.Columns(0, l.out_margin))) ASSERT_TRUE(std::isnan(value));
  }
}

TEST_P(ElementwisePairs, AddsInTheOutputsType) {
  const TestContext context;
  const auto [in_type, out_type] = GetParam();
  for (const Layout& l : kLayouts) {
    const Tensor in = Middle(RandomTensor(context, {l.rows, l.columns + 2 * l.in_margin}, in_type, 1), l.in_margin);
    const Tensor out = Middle(RandomTensor(context, {l.rows, l.columns + 2 * l.out_margin}, out_type, 2), l.out_margin);
    std::vector<double> want = ToDoubles(context, out);
    const std::vector<double> terms = ToDoubles(context, in);
    double largest = 0;
    for (size_t i = 0; i < want.size(); ++i) {
      want[i] += terms[i];
      largest = std::max({largest, std::abs(want[i]), std::abs(terms[i])});
    }
    ops::Add(context, in, out);
    // One rounding of the term to the accumulate type, one of the sum in it, one to the output type.
    const double accumulate = UnitRoundoff(out_type == DType::kF64 ? DType::kF64 : DType::kF32);
    ExpectNear(ToDoubles(context, out), want, (2.01 * accumulate + UnitRoundoff(out_type)) * largest,
               absl::StrCat("add ", in.ToString(), " to ", out.ToString()));
  }
}

INSTANTIATE_TEST_SUITE_P(All, ElementwisePairs,
                         ::testing::Combine(::testing::ValuesIn(kFloats), ::testing::ValuesIn(kFloats)),
                         [](const auto& info) {
                           return absl::StrCat(Name(std::get<0>(info.param)), "_", Name(std::get<1>(info.param)));
                         });

TEST(Cast, KeepsSpecialValuesAndTiesGoToEven) {
  const TestContext context;
  // 1 + 2^-8 lies between the bf16 numbers 1 and 1 + 2^-7: even is 1. 1 + 3 2^-8 goes up to 1 + 2^-6.
  const std::vector<double> special = {NAN, INFINITY, -INFINITY, 0, 1 + 0x1p-8, 1 + 3 * 0x1p-8, 3.4028235e38};
  const std::vector<double> rounded = {NAN, INFINITY, -INFINITY, 0, 1, 1 + 0x1p-6, INFINITY};
  for (const int64_t n : {7, 21, 35}) {  // in a tail, and in whole vectors
    std::vector<double> values, want;
    for (int64_t i = 0; i < n; ++i) values.push_back(special[i % 7]), want.push_back(rounded[i % 7]);
    const Tensor out = context.get().Empty({n}, DType::kBF16);
    ops::Cast(context, FromDoubles(context, values, {n}, DType::kF32), out);
    const std::vector<double> got = ToDoubles(context, out);
    for (int64_t i = 0; i < n; ++i) {
      EXPECT_TRUE(std::isnan(want[i]) ? std::isnan(got[i]) : got[i] == want[i]) << i << ": " << got[i];
    }
  }
}

TEST(Cast, AnyRankWhereContiguous) {
  const TestContext context;
  const Tensor in = RandomTensor(context, {2, 3, 5}, DType::kF32, 1);
  const Tensor out = context.get().Empty(in.shape(), DType::kF64);
  ops::Cast(context, in, out);
  ExpectNear(ToDoubles(context, out), ToDoubles(context, in), 0, "f32 to f64 is exact");
}

TEST(SumRows, AgreesWithReferenceInAllTypes) {
  const TestContext context;
  for (const DType dtype : kFloats) {
    const DType sum_type = dtype == DType::kF64 ? DType::kF64 : DType::kF32;
    for (const auto& [rows, width] :
         {std::pair{1, 1}, {3, 17}, {65, 16}, {1000, 33}, {200, 640}, {513, 264}, {0, 4}, {4, 0}}) {
      for (const int64_t margin : {0, 3, 8}) {
        const Tensor in = Middle(RandomTensor(context, {rows, width + 2 * margin}, dtype, 1), margin);
        const Tensor out = RandomTensor(context, {width}, sum_type, 2);
        std::vector<double> want = ToDoubles(context, out), magnitude;
        for (double value : want) magnitude.push_back(std::abs(value));
        const std::vector<double> values = ToDoubles(context, in);
        double largest = 0;
        for (int64_t i = 0; i < rows * width; ++i) {
          want[i % width] += values[i];
          largest = std::max(largest, magnitude[i % width] += std::abs(values[i]));
        }
        ops::SumRows(context, in, out);
        // At most 7 additions among eight rows, then one for each eight to `out`; the reference itself rounds in f64.
        const double bound = 1.01 * (8 + rows / 8) * UnitRoundoff(sum_type) + rows * 0x1p-53;
        ExpectNear(ToDoubles(context, out), want, bound * largest, absl::StrCat("sum of rows of ", in.ToString()));
      }
    }
  }
}

TEST(SumRows, ThreadsDoNotChangeABit) {
  const TestContext context;
  const Tensor in = RandomTensor(context, {777, 345}, DType::kF32, 1);
  const int before = omp_get_max_threads();
  std::vector<std::vector<double>> sums;
  for (const int threads : {1, 2, 3, 7}) {
    omp_set_num_threads(threads);
    const Tensor out = context.get().Zeros({345}, DType::kF32);
    ops::SumRows(context, in, out);
    sums.push_back(ToDoubles(context, out));
    EXPECT_EQ(sums.back(), sums.front()) << threads << " threads";
  }
  omp_set_num_threads(before);
}

TEST(SumRows, SameBitsInEveryOrder) {
  for (const int64_t width : {33, 264}) {
    InEveryOrder([width] {
      const TestContext context;
      const Tensor in = RandomTensor(context, {513, width}, DType::kBF16, 1);
      const Tensor out = RandomTensor(context, {width}, DType::kF32, 2),
                   sums = RandomTensor(context, {width}, DType::kF32, 3);
      ops::SumRows(context, in, out);
      ops::Add(context, out, sums);
      return ToDoubles(context, sums);
    });
  }
}

TEST(Converted, CopiesOnlyWhereTheTypeDiffers) {
  const TestContext context;
  const Tensor x = RandomTensor(context, {3, 17}, DType::kBF16, 1);
  EXPECT_EQ(ops::Converted(context, x, DType::kBF16).raw(), x.raw());
  const Tensor wide = ops::Converted(context, x, DType::kF32);
  ASSERT_EQ(wide.dtype(), DType::kF32);
  ExpectNear(ToDoubles(context, wide), ToDoubles(context, x), 0, "bf16 to f32 is exact");
}

TEST(ElementwiseDeathTest, RefusesWhatDoesNotFit) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const TestContext context;
  const Tensor a = context.get().Empty({2, 3}, DType::kF32), b = context.get().Empty({3, 2}, DType::kF32);
  const auto exits = ::testing::ExitedWithCode(1);
  EXPECT_EXIT(ops::Cast(context, a, b), exits, "\\[cast\\].*f32\\[2, 3\\].*f32\\[3, 2\\]");
  EXPECT_EXIT(ops::Add(context, a, context.get().Empty({2, 3}, DType::kI32)), exits, "\\[add\\].*i32");
  EXPECT_EXIT(ops::SumRows(context, a, context.get().Empty({3}, DType::kBF16)), exits, "\\[sum_rows\\].*bf16\\[3\\]");
}

}  // namespace
}  // namespace photon
