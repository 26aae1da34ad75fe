#include "core/ops/reduce.h"

#include <gtest/gtest.h>
#include <omp.h>

#include <cmath>

#include "absl/strings/str_cat.h"
#include "tests/support/tensors.h"

namespace photon {
namespace {

using testing::ExpectNear;
using testing::FromDoubles;
using testing::IntTensor;
using testing::RandomTensor;
using testing::TestContext;
using testing::ToDoubles;

TEST(SumSquares, AgreesWithReference) {
  const TestContext context;
  for (const DType dtype : {DType::kF64, DType::kF32}) {
    for (const int64_t n : {0, 1, 3, 17, 65, 4096, 4097, 100'003}) {
      const int64_t offset = n % 2;  // where vectors begin, and not
      const Tensor x = RandomTensor(context, {n + offset}, dtype, 1).Rows(offset, n + offset);
      long double want = 0;
      for (double value : ToDoubles(context, x)) want += static_cast<long double>(value) * value;
      const Tensor out = FromDoubles(context, {NAN}, {1}, DType::kF64);
      ops::SumSquares(context, x, out);
      // All terms are positive: each rounds once as a product, and at most ~140 + n / 4096 times in sums.
      const double bound = (150 + n / 4096) * 0x1p-53 * static_cast<double>(want);
      ExpectNear(ToDoubles(context, out), {static_cast<double>(want)}, bound, absl::StrCat(Name(dtype), " n ", n));
    }
  }
}

TEST(SumSquares, ThreadsDoNotChangeABit) {
  const TestContext context;
  const Tensor x = RandomTensor(context, {300'007}, DType::kF32, 1);
  const int before = omp_get_max_threads();
  std::vector<double> first;
  for (const int threads : {1, 2, 3, 7}) {
    omp_set_num_threads(threads);
    const Tensor out = context.get().Empty({1}, DType::kF64);
    ops::SumSquares(context, x, out);
    if (first.empty()) first = ToDoubles(context, out);
    EXPECT_EQ(ToDoubles(context, out), first) << threads << " threads";
  }
  omp_set_num_threads(before);
}

// No mask, every other element, and all but what is no number.
TEST(AccumulateSum, AddsWhatTheMaskLets) {
  const TestContext context;
  for (const DType dtype : {DType::kF64, DType::kF32}) {
    for (const int64_t n : {0, 1, 3, 17, 257, 4096, 4097, 20'003}) {
      const std::vector<double> values = ToDoubles(context, RandomTensor(context, {n}, dtype, 1));
      for (const int64_t every : {0, 1, 2, 3}) {  // 0: no mask
        std::vector<int32_t> mask(n);
        std::vector<double> held = values;
        long double want = 1.5, sizes = 1.5;
        for (int64_t i = 0; i < n; ++i) {
          mask[i] = every == 0 || i % every == 0 ? 1 + static_cast<int32_t>(i % 5) : 0;
          if (mask[i] == 0) held[i] = i % 2 == 0 ? NAN : INFINITY;
          if (mask[i] != 0) want += values[i], sizes += std::abs(values[i]);
        }
        const Tensor sums = FromDoubles(context, {7, 1.5, 9}, {3}, DType::kF64);
        ops::AccumulateSum(context, FromDoubles(context, held, {n}, dtype),
                           every == 0 ? Tensor() : IntTensor(context, mask), sums.Rows(1, 2));
        // At most 4096 sums within a block (fewer where they are unrolled) and n / 4096 over blocks.
        const double bound = (std::min<int64_t>(n, 4096) + n / 4096 + 1) * 0x1p-53 * static_cast<double>(sizes);
        ExpectNear(ToDoubles(context, sums), {7, static_cast<double>(want), 9}, bound,
                   absl::StrCat(Name(dtype), " n ", n, " every ", every));
      }
    }
  }
}

TEST(AccumulateSum, WhatIsNoNumberIsSeen) {
  const TestContext context;
  const Tensor sum = context.get().Zeros({1}, DType::kF64);
  ops::AccumulateSum(context, FromDoubles(context, {1, NAN, 3}, {3}, DType::kF32), IntTensor(context, {0, 1, 0}), sum);
  EXPECT_TRUE(std::isnan(ToDoubles(context, sum)[0]));
}

TEST(AccumulateSum, ThreadsDoNotChangeABit) {
  const TestContext context;
  const Tensor x = RandomTensor(context, {300'007}, DType::kF32, 1);
  const int before = omp_get_max_threads();
  std::vector<double> first;
  for (const int threads : {1, 2, 3, 7}) {
    omp_set_num_threads(threads);
    const Tensor out = context.get().Zeros({1}, DType::kF64);
    ops::AccumulateSum(context, x, {}, out);
    if (first.empty()) first = ToDoubles(context, out);
    EXPECT_EQ(ToDoubles(context, out), first) << threads << " threads";
  }
  omp_set_num_threads(before);
}

TEST(ReduceDeathTest, RefusesWhatDoesNotFit) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const TestContext context;
  const Tensor x = context.get().Zeros({4}, DType::kF32), out = context.get().Zeros({1}, DType::kF64);
  const auto exits = ::testing::ExitedWithCode(1);
  EXPECT_EXIT(ops::SumSquares(context, x, x), exits, "\\[sum_squares\\].*f32\\[4\\]");
  EXPECT_EXIT(ops::AccumulateSum(context, x, x, out), exits, "\\[accumulate_sum\\].*mask f32\\[4\\]");
  EXPECT_EXIT(ops::AccumulateSum(context, x, IntTensor(context, {1}), out), exits, "\\[accumulate_sum\\].*i32\\[1\\]");
}

}  // namespace
}  // namespace photon
