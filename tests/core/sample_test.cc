#include "core/ops/sample.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "absl/strings/str_cat.h"
#include "core/cuda/sample_order.h"
#include "core/random.h"
#include "tests/support/sampling_reference.h"
#include "tests/support/tensors.h"

namespace photon {
namespace {

using ops::SamplingSettings;
using testing::ExpectNear;
using testing::FromDoubles;
using testing::InEveryOrder;
using testing::IntTensor;
using testing::ProbabilitiesBySorting;
using testing::RandomTensor;
using testing::TestContext;
using testing::ToDoubles;
using testing::UnitRoundoff;

constexpr double kNever = -std::numeric_limits<double>::infinity();
constexpr uint64_t kSeed = 11, kStream = 7;

double UniformOf(int64_t index) { return Philox(kSeed, kStream).Uniform(index); }

// Row i draws by number i.
ops::SampleParameters ParametersOf(const Context& c, const std::vector<SamplingSettings>& rows) {
  std::vector<double> settings;
  std::vector<int32_t> top_k;
  std::vector<int64_t> streams, index;
  for (const SamplingSettings& s : rows) {
    settings.insert(settings.end(), {s.temperature, s.top_p, s.min_p, s.typical_p});
    top_k.push_back(s.top_k);
    streams.insert(streams.end(), {static_cast<int64_t>(kSeed), static_cast<int64_t>(kStream)});
    index.push_back(static_cast<int64_t>(index.size()));
  }
  const auto n = static_cast<int64_t>(rows.size());
  return {.settings = c.FromHost(settings.data(), {n, 4}, DType::kF64),
          .top_k = IntTensor(c, top_k),
          .streams = c.FromHost(streams.data(), {n, 2}, DType::kI64),
          .index = c.FromHost(index.data(), {n}, DType::kI64)};
}

struct Chosen {
  std::vector<int32_t> ids;
  std::vector<double> log_probabilities;
};
Chosen Sample(const Context& c, const Tensor& logits, const std::vector<SamplingSettings>& rows) {
  const Tensor ids = c.Empty({logits.dim(0)}, DType::kI32), scores = c.Empty({logits.dim(0)}, DType::kF32);
  ops::SampleRows(c, logits, ParametersOf(c, rows), ids, scores);
  Chosen chosen;
  chosen.ids.resize(rows.size());
  c.ToHost(ids, chosen.ids.data());
  chosen.log_probabilities = ToDoubles(c, scores);
  return chosen;
}

std::vector<double> RowOf(const std::vector<double>& all, size_t row, size_t width) {
  return {all.begin() + row * width, all.begin() + (row + 1) * width};
}

// The token whose interval of the cumulated probabilities holds the row's uniform number, or one beside it where that
// number lies so near their border that rounding decides: weights are off by a few units of 2^-24 each, relative, and
// so is every sum of them.
void ExpectDrawn(const std::vector<double>& logits, const SamplingSettings& settings, int64_t index, int32_t id) {
  const std::vector<double> p = ProbabilitiesBySorting(logits, settings);
  ASSERT_TRUE(id >= 0 && id < static_cast<int32_t>(p.size())) << id;
  EXPECT_GT(p[id], 0) << "token " << id << " was cut";
  double before = 0;
  for (int32_t i = 0; i < id; ++i) before += p[i];
  // The largest exponents: logits of up to 15 over the smallest temperature, 0.3, rounded twice.
  constexpr double kTolerance = 2 * (2 * 50 + 4) * 0x1p-24;
  EXPECT_GE(UniformOf(index), before - kTolerance) << "token " << id;
  EXPECT_LE(UniformOf(index), before + p[id] + kTolerance) << "token " << id;
}

void ExpectLogProbability(const std::vector<double>& logits, int32_t id, double got) {
  const double largest = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (double l : logits) sum += std::exp(l - largest);
  const double want = logits[id] - largest - std::log(sum);
  // As of a loss: tests/core/cross_entropy_test.cc.
  EXPECT_NEAR(got, want, UnitRoundoff(DType::kF32) * (4 * 15 + 84 + logits.size() / 1024.0 + std::abs(want)));
}

const std::vector<SamplingSettings> kSettings = {
    {.temperature = 1},
    {.temperature = 0.3},
    {.temperature = 2},
    {.temperature = 1, .top_k = 1},
    {.temperature = 1, .top_k = 3},
    {.temperature = 1.5, .top_k = 70},
    {.temperature = 1, .top_k = 4000},
    {.temperature = 1, .top_p = 0.1},
    {.temperature = 1, .top_p = 0.9},
    {.temperature = 3, .top_p = 0.99},
    {.temperature = 1, .top_p = 1e-9},
    {.temperature = 1, .min_p = 0.02},
    {.temperature = 1, .min_p = 1},
    {.temperature = 1, .top_k = 50, .min_p = 0.3},
    {.temperature = 1, .typical_p = 0.5},
    {.temperature = 2, .top_p = 0.7, .typical_p = 0.9},
    {.temperature = 0.7, .top_k = 40, .top_p = 0.8, .min_p = 0.01, .typical_p = 0.9}};

// Vocabularies of which a GPU lists what is left after a first cut, and some of which it can't.
TEST(SampleRows, IsWhatSortingGives) {
  const TestContext context;
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    for (const int64_t vocabulary : {1, 5, 64, 65, 1000, 5001}) {
      std::vector<SamplingSettings> rows = kSettings;
      rows.insert(rows.end(), kSettings.begin(), kSettings.end());
      const Tensor logits = RandomTensor(context, {static_cast<int64_t>(rows.size()), vocabulary}, dtype, 17, 3.0);
      const Chosen chosen = Sample(context, logits, rows);
      const std::vector<double> values = ToDoubles(context, logits);
      for (size_t i = 0; i < rows.size(); ++i) {
        SCOPED_TRACE(absl::StrCat(Name(dtype), " vocabulary ", vocabulary, ", temperature ", rows[i].temperature,
                                  ", top-k ", rows[i].top_k, ", top-p ", rows[i].top_p, ", min-p ", rows[i].min_p,
                                  ", typical-p ", rows[i].typical_p));
        const std::vector<double> row = RowOf(values, i, vocabulary);
        ExpectDrawn(row, rows[i], static_cast<int64_t>(i), chosen.ids[i]);
        ExpectLogProbability(row, chosen.ids[i], chosen.log_probabilities[i]);
      }
    }
  }
}

TEST(SampleRows, NoOrderOfThreadsChangesAnything) {
  const TestContext context;
  for (const int64_t vocabulary : {65, 3000}) {
    const Tensor logits =
        RandomTensor(context, {static_cast<int64_t>(kSettings.size()), vocabulary}, DType::kF32, 5, 2.0);
    InEveryOrder([&] {
      const Chosen chosen = Sample(context, logits, kSettings);
      std::vector<double> all = chosen.log_probabilities;
      all.insert(all.end(), chosen.ids.begin(), chosen.ids.end());
      return all;
    });
  }
}

// Equals are told apart by their ids: by all digits of the order's key.
TEST(SampleRows, EqualLogits) {
  const TestContext context;
  for (const int64_t vocabulary : {40, 3000}) {
    const std::vector<SamplingSettings> rows = {{.temperature = 1},
                                                {.temperature = 1e30},
                                                {.temperature = 1, .top_k = 17},
                                                {.temperature = 1, .top_p = 0.49},
                                                {.temperature = 1, .typical_p = 0.51},
                                                {.temperature = 1, .top_k = 30, .top_p = 0.35, .typical_p = 0.75}};
    const auto n = static_cast<int64_t>(rows.size());
    const Tensor logits = FromDoubles(context, std::vector<double>(n * vocabulary, 2.5), {n, vocabulary}, DType::kF32);
    const Chosen chosen = Sample(context, logits, rows);
    for (int64_t i = 0; i < n; ++i) {
      ExpectDrawn(std::vector<double>(vocabulary, 2.5), rows[i], i, chosen.ids[i]);
    }
  }
}

TEST(SampleRows, Greedy) {
  const TestContext context;
  const double inf = std::numeric_limits<double>::infinity(), nan = std::nan("");
  const Tensor logits = FromDoubles(context, {1,      3,      3,      2,       //
                                              5,      5,      5,      5,       //
                                              kNever, -1,     kNever, -1,      //
                                              kNever, kNever, kNever, kNever,  //
                                              1,      inf,    2,      inf,     //
                                              -0.0,   0.0,    -0.0,   0.0,     //
                                              nan,    1,      2,      nan},
                                    {7, 4}, DType::kF32);
  const Chosen chosen = Sample(context, logits, std::vector<SamplingSettings>(7));
  EXPECT_EQ(chosen.ids, (std::vector<int32_t>{1, 0, 1, 0, 1, 0, 2}));
  EXPECT_NEAR(chosen.log_probabilities[1], -std::log(4.0), 8 * UnitRoundoff(DType::kF32));
  EXPECT_NEAR(chosen.log_probabilities[2], -std::log(2.0), 8 * UnitRoundoff(DType::kF32));
  EXPECT_TRUE(std::isnan(chosen.log_probabilities[6]));  // is seen, not hidden
  // Where nothing is finite, or the temperature as good as 0, that is what is drawn.
  std::vector<SamplingSettings> drawn(7, {.temperature = 1e-320, .top_p = 0.9});
  drawn[4] = {.temperature = 1, .top_k = 2};
  drawn[3] = {.temperature = 1, .typical_p = 0.3};
  drawn[1] = {.temperature = 1, .top_k = 1};
  drawn[5] = {.temperature = 1, .top_k = 1};
  drawn[0] = {.temperature = 1, .top_k = 1};
  drawn[2] = {.temperature = 1, .top_k = 1};
  EXPECT_EQ(Sample(context, logits, drawn).ids, (std::vector<int32_t>{1, 0, 1, 0, 1, 0, 2}));
}

TEST(SampleRows, NeverPicksMinusInfinity) {
  const TestContext context;
  const std::vector<double> row = {kNever, 0, kNever, 0, kNever};
  std::vector<double> values;
  std::vector<SamplingSettings> rows;
  for (int i = 0; i < 20; ++i) {
    values.insert(values.end(), row.begin(), row.end());
    rows.push_back({.temperature = i % 2 == 0 ? 1 : 1e30, .top_k = i % 3 == 0 ? 4 : 0});
  }
  for (const int32_t id : Sample(context, FromDoubles(context, values, {20, 5}, DType::kF32), rows).ids) {
    EXPECT_TRUE(id == 1 || id == 3) << id;
  }
}

TEST(SampleRows, NoRowsAndNoLogProbabilities) {
  const TestContext context;
  const Context& c = context;
  ops::SampleRows(c, c.Empty({0, 5}, DType::kF32), ParametersOf(c, {}), c.Empty({0}, DType::kI32), Tensor());
  const Tensor ids = c.Empty({1}, DType::kI32);
  ops::SampleRows(c, FromDoubles(c, {0, 4, 1}, {1, 3}, DType::kF32), ParametersOf(c, {{}}), ids, Tensor());
  int32_t id = -1;
  c.ToHost(ids, &id);
  EXPECT_EQ(id, 1);
}

TEST(SampleRowsDeathTest, RefusesWhatDoesNotFit) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const TestContext context;
  const Context& c = context;
  const auto exits = ::testing::ExitedWithCode(1);
  EXPECT_EXIT(ops::SampleRows(c, c.Empty({1, 3}, DType::kF64), ParametersOf(c, {{}}), c.Empty({1}, DType::kI32), {}),
              exits, "\\[sample_rows\\].*f64\\[1, 3\\]");
  EXPECT_EXIT(ops::SampleRows(c, c.Empty({1, 3}, DType::kF32), ParametersOf(c, {{}}), c.Empty({2}, DType::kI32), {}),
              exits, "\\[sample_rows\\].*i32\\[2\\]");
}

// The order of keys on a GPU.
TEST(SampleOrder, KeysAreOrderedAsTheirTokens) {
  const std::vector<float> rising = {
      -std::numeric_limits<float>::infinity(), -1e30f, -2, -1.5f, -1e-40f, 0, 1e-40f, 1.5f, 2, 1e30f};
  for (size_t i = 1; i < rising.size(); ++i) {
    EXPECT_LT(cuda::RisingBits(rising[i - 1]), cuda::RisingBits(rising[i]));
    EXPECT_LE(cuda::DistanceBin(rising.back() - rising[i], 1), cuda::DistanceBin(rising.back() - rising[i - 1], 1));
  }
  EXPECT_EQ(cuda::DistanceBin(0, 1), 0u);
  EXPECT_EQ(cuda::DistanceBin(std::numeric_limits<float>::infinity(), 1), cuda::kBins - 1u);
  EXPECT_LT(cuda::OrderKey(1, 7, 9), cuda::OrderKey(2, 3, 1));
  EXPECT_LT(cuda::OrderKey(1, 3, 9), cuda::OrderKey(1, 7, 1));
  EXPECT_LT(cuda::OrderKey(1, 7, 1), cuda::OrderKey(1, 7, 9));
  EXPECT_EQ(cuda::Mass(1), uint64_t{1} << 44);
  EXPECT_EQ(cuda::Mass(0x1p-44f), 1u);
  EXPECT_EQ(cuda::Mass(0x1p-45f), 0u);
}

// All digits of a key together are the key, and each has a place in the histogram.
TEST(SampleOrder, DigitsCoverTheKey) {
  for (const uint64_t key : {uint64_t{0}, uint64_t{0x123456789abcdef0}, ~uint64_t{0}}) {
    uint64_t prefix = 0;
    cuda::DigitOfKey digit;
    while (true) {
      EXPECT_EQ(digit.Prefix(key), prefix);
      ASSERT_LT(digit.Of(key), static_cast<uint32_t>(cuda::kBins));
      prefix = digit.Extend(prefix, digit.Of(key));
      EXPECT_LE(key, digit.LargestOf(prefix));
      EXPECT_LT(digit.LargestOf(prefix) - key, uint64_t{1} << digit.shift);
      if (digit.last()) break;
      digit = digit.Next();
    }
    EXPECT_EQ(prefix, key);
  }
}

}  // namespace
}  // namespace photon
