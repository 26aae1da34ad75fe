#include "core/ops/split_cross_entropy.h"

#include <gtest/gtest.h>
#include <omp.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/ops/cross_entropy.h"
#include "core/ops/memory.h"
#include "tests/support/tensors.h"

namespace photon {
namespace {

using testing::ExpectNear;
using testing::FromDoubles;
using testing::InEveryOrder;
using testing::IntTensor;
using testing::RandomTensor;
using testing::TestContext;
using testing::ToDoubles;
using testing::UnitRoundoff;

using Doubles = std::vector<double>;
using Targets = std::vector<int32_t>;

constexpr DType kTypes[] = {DType::kF64, DType::kF32, DType::kBF16};
constexpr double kInfinity = std::numeric_limits<double>::infinity();

DType Wide(DType dtype) { return dtype == DType::kF64 ? DType::kF64 : DType::kF32; }

Doubles ColumnsOf(const Doubles& values, int64_t width, int64_t begin, int64_t end) {
  Doubles part;
  for (size_t row = 0; row < values.size(); row += width) {
    part.insert(part.end(), values.begin() + row + begin, values.begin() + row + end);
  }
  return part;
}

// A group of ranks, one part of the columns each: parts end at `ends`, the last of which is the width.
class Group {
 public:
  Group(const Context& context, const Doubles& logits, DType dtype, const Targets& targets,
        const std::vector<int64_t>& ends)
      : context_(context), rows_(static_cast<int64_t>(targets.size())), targets_(IntTensor(context, targets)) {
    int64_t begin = 0;
    for (const int64_t end : ends) {
      Targets own;
      for (const int32_t t : targets) own.push_back(begin <= t && t < end ? t - static_cast<int32_t>(begin) : -1);
      parts_.push_back({FromDoubles(context, ColumnsOf(logits, ends.back(), begin, end), {rows_, end - begin}, dtype),
                        IntTensor(context, own), context.Empty({rows_}, Wide(dtype))});
      begin = end;
    }
    stats_ = context.Empty({static_cast<int64_t>(ends.size()), rows_, 3}, Wide(dtype));
  }

  void Run(const Tensor& scale) {
    const auto count = static_cast<int64_t>(parts_.size());
    for (int64_t p = 0; p < count; ++p) {
      const Tensor own = stats_.Reshape({count * rows_, 3}).Rows(p * rows_, (p + 1) * rows_);
      ops::VocabularyStatistics(context_, parts_[p].logits, parts_[p].targets, own);
    }
    for (const Part& part : parts_) {
      ops::SplitCrossEntropy(context_, part.logits, part.targets, targets_, stats_, scale, part.nll);
    }
  }
  // Of every rank the same bits.
  Doubles Nll() const {
    const Doubles first = ToDoubles(context_, parts_[0].nll);
    for (const Part& part : parts_) {
      const Doubles own = ToDoubles(context_, part.nll);
      for (int64_t i = 0; i < rows_; ++i) {
        EXPECT_TRUE(own[i] == first[i] || (std::isnan(own[i]) && std::isnan(first[i]))) << "row " << i;
      }
    }
    return first;
  }
  Doubles Logits() const {  // or what they were overwritten with, all columns
    Doubles all;
    for (int64_t row = 0; row < rows_; ++row) {
      for (const Part& part : parts_) {
        if (part.logits.dim(1) == 0) continue;
        for (const double x : ToDoubles(context_, part.logits.Rows(row, row + 1))) all.push_back(x);
      }
    }
    return all;
  }
  Doubles Statistics() const { return ToDoubles(context_, stats_.Reshape({stats_.dim(0) * rows_, 3})); }

 private:
  struct Part {
    Tensor logits, targets, nll;
  };
  const Context& context_;
  int64_t rows_;
  Tensor targets_, stats_;
  std::vector<Part> parts_;
};

struct Whole {
  Doubles nll, gradient;
  double relative;  // error of a probability, and absolute of nll but for the rounding of its result
};

// By definition, in double. Errors with u of the arithmetic, of |logits| up to `largest`: a part's sum as in
// cross_entropy_test.cc: x - max rounded (2 largest u), exp (4 u), blocks of 64 vectors: (64 + V / 1024 + 8) u.
// Combining: exp(part's max - max) again 2 largest u + 4 u, a product, a sum of the parts. A probability: exp(x - max),
// 2 largest u + 4 u, and three operations. nll: the sum's, absolute, and two roundings of numbers up to 2 largest.
Whole Define(const Doubles& logits, const Targets& targets, const Doubles& scale, int64_t parts, DType dtype) {
  Whole w;
  const int64_t width = static_cast<int64_t>(logits.size() / targets.size());
  double largest = 0;
  for (size_t i = 0; i < targets.size(); ++i) {
    const double* row = &logits[i * width];
    const double max = *std::max_element(row, row + width);
    double sum = 0;
    for (int64_t j = 0; j < width; ++j) {
      sum += std::exp(row[j] - max);
      largest = std::max(largest, std::abs(row[j]));
    }
    const double lse = max + std::log(sum);
    w.nll.push_back(targets[i] < 0 ? 0 : lse - row[targets[i]]);
    for (int64_t j = 0; j < width; ++j) {
      w.gradient.push_back(targets[i] < 0 ? 0 : scale[i] * (std::exp(row[j] - lse) - (j == targets[i] ? 1 : 0)));
    }
  }
  w.relative = UnitRoundoff(Wide(dtype)) * (6 * largest + 12 + 72 + width / 1024.0 + 8 + parts);
  return w;
}

double Largest(const Doubles& values) {
  double largest = 0;
  for (const double x : values) largest = std::max(largest, std::abs(x));
  return largest;
}

void ExpectMatches(const Context& context, const Tensor& logits, const Targets& targets,
                   const std::vector<int64_t>& ends) {
  const DType dtype = logits.dtype();
  const auto rows = static_cast<int64_t>(targets.size());
  const Tensor scale = RandomTensor(context, {rows}, Wide(dtype), 77);
  const Doubles values = ToDoubles(context, logits), scales = ToDoubles(context, scale);
  const Whole want = Define(values, targets, scales, static_cast<int64_t>(ends.size()), dtype);
  const double nll_bound = want.relative + UnitRoundoff(Wide(dtype)) * Largest(want.nll);
  const double gradient_bound = Largest(scales) * (want.relative + UnitRoundoff(dtype));
  const std::string what = absl::StrCat(logits.ToString(), " cut at ", absl::StrJoin(ends, ", "));

  Group group(context, values, dtype, targets, ends);
  group.Run(Tensor());
  ExpectNear(group.Nll(), want.nll, nll_bound, "nll without scale, " + what);
  EXPECT_EQ(group.Logits(), values) << what;
  group.Run(scale);
  ExpectNear(group.Nll(), want.nll, nll_bound, "nll " + what);
  ExpectNear(group.Logits(), want.gradient, gradient_bound, "gradient " + what);

  // And one rank that has all columns finds the same: both are within their bound of the truth.
  const Tensor whole = FromDoubles(context, values, logits.shape(), dtype);
  const Tensor nll = context.Empty({rows}, Wide(dtype));
  ops::CrossEntropyForward(context, whole, IntTensor(context, targets), scale, nll);
  ExpectNear(group.Nll(), ToDoubles(context, nll), 2 * nll_bound, "nll of one rank, " + what);
  ExpectNear(group.Logits(), ToDoubles(context, whole), 2 * gradient_bound, "gradient of one rank, " + what);
}

// Cuts of a width into parts: one, halves, uneven ones, and ranks that have a single column or none.
std::vector<std::vector<int64_t>> Cuts(int64_t width) {
  return {{width}, {width / 2, width}, {1, width}, {width / 3, width / 3, width / 3 * 2, width}, {0, width}};
}

TEST(SplitCrossEntropy, MatchesDouble) {
  const TestContext context;
  for (const DType dtype : kTypes) {
    for (const int64_t width : {1, 3, 17, 63, 64, 200, 1025, 5000}) {
      for (const double size : {1.0, 30.0}) {
        const Tensor logits = RandomTensor(context, {4, width}, dtype, width, size);
        const auto last = static_cast<int32_t>(width - 1);
        for (const auto& ends : Cuts(width)) ExpectMatches(context, logits, {0, -1, last, last / 2}, ends);
        if (HasFailure()) return;
      }
    }
  }
}

// More than a warp of them; rows of different magnitudes, of which one has all its weight in the last parts.
TEST(SplitCrossEntropy, ManyParts) {
  const TestContext context;
  std::vector<int64_t> ends;
  for (int64_t end = 5; end <= 350; end += 5) ends.push_back(end);
  Doubles values = ToDoubles(context, RandomTensor(context, {3, 350}, DType::kF32, 1, 5.0));
  for (int64_t column = 0; column < 350; ++column) {
    if (column >= 300) values[column] += 500;
    values[700 + column] -= 500;
  }
  for (const DType dtype : kTypes) {
    ExpectMatches(context, FromDoubles(context, values, {3, 350}, dtype), {349, -1, 3}, ends);
  }
}

TEST(SplitCrossEntropy, WideVocabulary) {
  const TestContext context;
  const int64_t width = 128 * 1024 + 5;
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    ExpectMatches(context, RandomTensor(context, {2, width}, dtype, 1), {131076, 7}, {width / 2 + 3, width});
  }
}

// A part whose largest logit is far below the others', with the target in it and not; ascending magnitudes.
TEST(SplitCrossEntropy, PartsOfUnevenMagnitude) {
  const TestContext context;
  Doubles far(2 * 96), rising(2 * 96);
  for (size_t i = 0; i < far.size(); ++i) {
    const size_t column = i % 96;
    far[i] = column < 32 ? 0.03 * column : column < 64 ? -1000 + 0.1 * column : -60 + 0.1 * column;
    rising[i] = -200 + 4.0 * column;
  }
  for (const DType dtype : kTypes) {
    for (const Doubles& values : {far, rising}) {
      const Tensor logits = FromDoubles(context, values, {2, 96}, dtype);
      ExpectMatches(context, logits, {40, 3}, {32, 64, 96});
      ExpectMatches(context, logits, {95, 64}, {32, 64, 96});
    }
  }
}

TEST(SplitCrossEntropy, HugeLogitsDoNotOverflow) {
  const TestContext context;
  for (const DType dtype : kTypes) {
    // 9984 and 10048 are bf16 numbers.
    Group group(context, {9984, 10048, -10048, 10048, -10048, -10048}, dtype, {0, 0}, {1, 3});
    group.Run(FromDoubles(context, {1, 2}, {2}, Wide(dtype)));
    ExpectNear(group.Nll(), {64, 0}, 1e-25, "nll");
    ExpectNear(group.Logits(), {-1, 1, 0, 0, 0, 0}, 1e-25, "gradient");
  }
}

TEST(SplitCrossEntropy, StatisticsOfAPart) {
  const TestContext context;
  for (const DType dtype : kTypes) {
    const double lowest =
        dtype == DType::kF64 ? std::numeric_limits<double>::lowest() : std::numeric_limits<float>::lowest();
    // Columns {1, 1}, none, {-inf, 0.5}; targets: elsewhere and in the last part.
    Group group(context, {1, 1, -kInfinity, 0.5, 1, 1, -kInfinity, -kInfinity}, dtype, {-1, 2}, {2, 2, 4});
    group.Run(Tensor());
    EXPECT_EQ(group.Statistics(),
              (Doubles{1, 2, 0, 1, 2, 0, lowest, 0, 0, lowest, 0, 0, 0.5, 1, 0, lowest, 0, -kInfinity}));
  }
}

TEST(SplitCrossEntropy, UnscoredRowsAreExactlyZero) {
  const TestContext context;
  for (const DType dtype : kTypes) {
    Doubles values(3 * 17, kInfinity);
    values[18] = -kInfinity;
    values[40] = std::nan("");
    Group group(context, values, dtype, {-1, -1, -1}, {9, 17});
    group.Run(FromDoubles(context, {1, kInfinity, 1}, {3}, Wide(dtype)));
    EXPECT_EQ(group.Nll(), Doubles(3, 0.0));
    EXPECT_EQ(group.Logits(), Doubles(3 * 17, 0.0));
  }
}

// What CrossEntropyForward makes of them, in the part that has them and in the others.
TEST(SplitCrossEntropy, NotFiniteAsInOnePart) {
  const TestContext context;
  const double nan = std::nan("");
  const std::vector<Doubles> rows = {
      {0, -kInfinity, 0, 1},
      {nan, 1, 0, 1},
      {0, 1, 0, nan},
      {0, 1, nan, 5},
      {0, kInfinity, 1, 2},
      {1, 0, 0, kInfinity},
      {-kInfinity, 3, 1, 0},
      {-kInfinity, -kInfinity, -kInfinity, -kInfinity},
      {0, 1, -kInfinity, -kInfinity},
      {-kInfinity, -kInfinity, 1, 2},
  };
  Doubles values;
  for (const Doubles& row : rows) values.insert(values.end(), row.begin(), row.end());
  const auto count = static_cast<int64_t>(rows.size());
  const Targets targets(rows.size(), 0);
  for (const DType dtype : kTypes) {
    const Tensor scale = FromDoubles(context, Doubles(rows.size(), 1.5), {count}, Wide(dtype));
    const Tensor whole = FromDoubles(context, values, {count, 4}, dtype);
    const Tensor nll = context.get().Empty({count}, Wide(dtype));
    ops::CrossEntropyForward(context, whole, IntTensor(context, targets), scale, nll);
    Group group(context, values, dtype, targets, {2, 4});
    group.Run(scale);
    const auto expect = [&](const Doubles& got, const Doubles& want, const char* what) {
      for (size_t i = 0; i < want.size(); ++i) {
        const size_t row = i * rows.size() / want.size();
        if (std::isnan(want[i])) {
          EXPECT_TRUE(std::isnan(got[i])) << what << " " << i << " of row " << row << ": " << got[i];
        } else if (std::isinf(want[i])) {
          EXPECT_EQ(got[i], want[i]) << what << " " << i << " of row " << row;
        } else {
          EXPECT_NEAR(got[i], want[i], 200 * UnitRoundoff(dtype)) << what << " " << i << " of row " << row;
        }
      }
    };
    expect(group.Nll(), ToDoubles(context, nll), "nll");
    expect(group.Logits(), ToDoubles(context, whole), "gradient");
    EXPECT_TRUE(std::isnan(group.Nll()[1]) && std::isnan(group.Nll()[2])) << "is seen, not hidden";
  }
}

TEST(SplitCrossEntropy, NoOrderOfThreadsChangesABit) {
  for (const int64_t width : {77, 7003}) {
    InEveryOrder([&] {
      const TestContext context;
      const Tensor logits = RandomTensor(context, {3, width}, DType::kF32, 1);
      Group group(context, ToDoubles(context, logits), DType::kF32, {76, -1, 0}, {40, width});
      group.Run(RandomTensor(context, {3}, DType::kF32, 2));
      Doubles all = group.Logits();
      for (const double x : group.Nll()) all.push_back(x);
      for (const double x : group.Statistics()) all.push_back(x);
      return all;
    });
  }
}

TEST(SplitCrossEntropy, SameBitsForAnyThreads) {
  const TestContext context;
  const Tensor logits = RandomTensor(context, {12, 5003}, DType::kF32, 1);
  const Tensor scale = RandomTensor(context, {12}, DType::kF32, 2);
  const auto run = [&](int threads) {
    const int before = omp_get_max_threads();
    omp_set_num_threads(threads);
    Group group(context, ToDoubles(context, logits), DType::kF32, {0, 1, 2, 3, -1, 5, 6, 7, 8, 9, 10, 11},
                {2000, 5003});
    group.Run(scale);
    omp_set_num_threads(before);
    Doubles all = group.Logits();
    for (const double x : group.Nll()) all.push_back(x);
    return all;
  };
  EXPECT_EQ(run(1), run(3));
}

TEST(SplitCrossEntropy, NoRows) {
  const TestContext context;
  const Context& c = context;
  const Tensor logits = c.Empty({0, 5}, DType::kF32), target = c.Empty({0}, DType::kI32);
  ops::VocabularyStatistics(c, logits, target, c.Empty({0, 3}, DType::kF32));
  ops::SplitCrossEntropy(c, logits, target, target, c.Empty({2, 0, 3}, DType::kF32), Tensor(),
                         c.Empty({0}, DType::kF32));
}

// Where looking would mean waiting, the loss is NaN.
TEST(SplitCrossEntropy, ImpossibleTargets) {
  const TestContext context;
  const Context& c = context;
  const Tensor logits = c.Zeros({2, 3}, DType::kF32), stats = c.Empty({2, 3}, DType::kF32);
  const auto statistics = [&] { ops::VocabularyStatistics(c, logits, IntTensor(c, {0, 3}), stats); };
  if (testing::OnCpu()) {
    EXPECT_EXIT(statistics(), ::testing::ExitedWithCode(1), "\\[vocabulary_statistics\\] target 3 in row 1");
    return;
  }
  statistics();
  const Tensor nll = c.Empty({2}, DType::kF32), scale = FromDoubles(c, {1, 1}, {2}, DType::kF32);
  ops::SplitCrossEntropy(c, logits, IntTensor(c, {0, 3}), IntTensor(c, {0, 3}), stats.Reshape({1, 2, 3}), scale, nll);
  EXPECT_NEAR(ToDoubles(c, nll)[0], std::log(3.0), 8 * UnitRoundoff(DType::kF32));
  EXPECT_TRUE(std::isnan(ToDoubles(c, nll)[1]));
}

TEST(SplitCrossEntropyDeathTest, NamesOperands) {
  const TestContext context;
  const Context& c = context;
  const Tensor logits = c.Zeros({2, 3}, DType::kF32), target = IntTensor(c, {0, 1});
  const Tensor stats = c.Zeros({2, 3}, DType::kF32), nll = c.Zeros({2}, DType::kF32);
  const auto exits = ::testing::ExitedWithCode(1);
  EXPECT_EXIT(ops::VocabularyStatistics(c, logits, target, c.Zeros({2, 2}, DType::kF32)), exits,
              "\\[vocabulary_statistics\\].*f32\\[2, 3\\].*stats f32\\[2, 2\\]");
  EXPECT_EXIT(ops::SplitCrossEntropy(c, logits, target, target, stats, Tensor(), nll), exits,
              "\\[split_cross_entropy\\].*stats f32\\[2, 3\\].*want .*\\[parts, N, 3\\]");
  EXPECT_EXIT(ops::SplitCrossEntropy(c, logits, target, IntTensor(c, {0}), stats.Reshape({1, 2, 3}), Tensor(), nll),
              exits, "\\[split_cross_entropy\\].*scored i32\\[1\\]");
}

}  // namespace
}  // namespace photon
