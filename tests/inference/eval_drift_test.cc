#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "inference/eval/drift.h"
#include "inference/score.h"
#include "tests/support/models.h"
#include "tests/support/tensors.h"

namespace photon::testing {
namespace {

using ::testing::HasSubstr;

constexpr double kNever = -std::numeric_limits<double>::infinity();

TEST(EvalDrift, ComparesRows) {
  // Probabilities 1/2, 1/4, 1/4 and 1/8, 1/8, 3/4; logits may be off by any constant.
  const std::vector<double> exact = {std::log(2.0) + 5, 5, 5}, other = {0, 0, std::log(6.0)};
  const eval::Comparison comparison = eval::Compare(exact, other, 1);
  EXPECT_NEAR(comparison.exact_log_likelihood, std::log(0.25), 1e-14);
  EXPECT_NEAR(comparison.other_log_likelihood, std::log(0.125), 1e-14);
  EXPECT_FALSE(comparison.agree);
  const double want = 0.5 * std::log(4.0) + 0.25 * std::log(2.0) + 0.25 * std::log(1.0 / 3);
  EXPECT_NEAR(comparison.divergence, want, 1e-14);

  const eval::Comparison same = eval::Compare(exact, exact, 0);
  EXPECT_TRUE(same.agree);
  EXPECT_EQ(same.divergence, 0);
  // What is never written adds nothing; what only the other never writes is infinitely far.
  EXPECT_EQ(eval::Compare(std::vector<double>{0, kNever}, std::vector<double>{0, kNever}, 0).divergence, 0);
  EXPECT_EQ(eval::Compare(std::vector<double>{0, 0}, std::vector<double>{0, kNever}, 0).divergence, -kNever);
}

TEST(EvalDrift, BucketsArePowersOfFour) {
  eval::DriftTally tally({20, 100});
  for (int64_t distance = 1; distance <= 100; ++distance) {
    tally.Add(distance, {.exact_log_likelihood = -1,
                         .other_log_likelihood = static_cast<double>(-distance),
                         .agree = distance <= 16,
                         .divergence = 2});
  }
  const eval::Drift drift = tally.Means();
  ASSERT_EQ(drift.buckets.size(), 3u);
  EXPECT_EQ(drift.buckets[0].to, 16);
  EXPECT_EQ(drift.buckets[1].from, 17);
  EXPECT_EQ(drift.buckets[1].to, 64);
  EXPECT_EQ(drift.buckets[2].to, 100);
  EXPECT_EQ(drift.buckets[2].tokens, 36);
  EXPECT_DOUBLE_EQ(drift.buckets[0].other_log_likelihood, -8.5);
  EXPECT_EQ(drift.buckets[0].agreement, 1);
  EXPECT_EQ(drift.buckets[1].agreement, 0);
  ASSERT_EQ(drift.lengths.size(), 2u);
  EXPECT_EQ(drift.lengths[0].tokens, 20);
  EXPECT_DOUBLE_EQ(drift.lengths[0].agreement, 0.8);
  EXPECT_DOUBLE_EQ(drift.lengths[1].exact_log_likelihood, -1);
  EXPECT_DOUBLE_EQ(drift.lengths[1].divergence, 2);
}

class MeasuredDrift : public ::testing::Test {
 protected:
  std::vector<std::vector<int32_t>> Sequences(int64_t length) const {
    return {RandomTokens(length, tiny_.vocab, 1), RandomTokens(length, tiny_.vocab, 2)};
  }
  TinyModel tiny_{.chunks = {2, 3}};
  TestContext context_;
  std::unique_ptr<LanguageModel> model_ = MakeModel(context_, tiny_, DType::kF64, DType::kF64);
};

TEST_F(MeasuredDrift, OfTheTrainingForwardFromItselfIsNone) {
  const auto drift = eval::MeasureDrift(context_, *model_, Sequences(12 + 100),
                                        {.mode = GenerationMode::kHier, .prefix = 12, .lengths = {10, 100}});
  ASSERT_TRUE(drift.ok()) << drift.status();
  for (const eval::Stretch& stretch : drift->lengths) {
    EXPECT_EQ(stretch.tokens, 2 * stretch.to);
    EXPECT_EQ(stretch.divergence, 0);
    EXPECT_EQ(stretch.agreement, 1);
    EXPECT_EQ(stretch.exact_log_likelihood, stretch.other_log_likelihood);
  }
}

// The log-likelihoods are those of scoring; a length that ends inside a meta-context and several slices included.
TEST_F(MeasuredDrift, LogLikelihoodsAreThoseOfScores) {
  constexpr int64_t kPrefix = 12, kLength = 301;
  const auto sequences = Sequences(kPrefix + kLength);
  const auto drift = eval::MeasureDrift(context_, *model_, sequences, {.prefix = kPrefix, .lengths = {7, kLength}});
  ASSERT_TRUE(drift.ok()) << drift.status();
  const auto mean = [&](const ScoreOptions& options, int64_t length) {
    const auto scores = ScoreBatch(context_, *model_, sequences, options);
    double sum = 0;
    for (const SequenceScores& score : *scores) {
      for (int64_t i = 0; i < length; ++i) sum += score.log_probabilities[kPrefix - 1 + i];
    }
    return sum / static_cast<double>(2 * length);
  };
  for (const eval::Stretch& stretch : drift->lengths) {
    EXPECT_NEAR(stretch.exact_log_likelihood, mean({}, stretch.to), 1e-10);
    EXPECT_NEAR(stretch.other_log_likelihood, mean({.mode = GenerationMode::kRec, .exact_prefix = kPrefix}, stretch.to),
                1e-10);
    EXPECT_GT(stretch.divergence, 0);
    EXPECT_LT(stretch.agreement, 1);
  }
}

TEST_F(MeasuredDrift, OfHierParallelIsThatOfScoresToo) {
  const auto sequences = Sequences(12 + 100);
  const auto drift = eval::MeasureDrift(context_, *model_, sequences,
                                        {.mode = GenerationMode::kHierParallel, .prefix = 12, .lengths = {100}});
  ASSERT_TRUE(drift.ok()) << drift.status();
  const auto scores = ScoreBatch(context_, *model_, sequences, {.mode = GenerationMode::kHierParallel});
  double sum = 0;
  for (const SequenceScores& score : *scores) {
    for (int64_t i = 0; i < 100; ++i) sum += score.log_probabilities[11 + i];
  }
  EXPECT_NEAR(drift->lengths[0].other_log_likelihood, sum / 200, 1e-10);
  EXPECT_GT(drift->lengths[0].divergence, 0);
}

// More sequences than are read together: 42, of meta-contexts of 6 tokens.
TEST_F(MeasuredDrift, ManySequencesAreReadInGroups) {
  const auto sequences = [&](int64_t count) {
    std::vector<std::vector<int32_t>> sequences;
    for (int64_t i = 0; i < count; ++i) sequences.push_back(RandomTokens(12 + 20, tiny_.vocab, i));
    return sequences;
  };
  const auto measure = [&](absl::Span<const std::vector<int32_t>> some, std::vector<int64_t>* heard) {
    const auto drift = eval::MeasureDrift(context_, *model_, some, {.prefix = 12, .lengths = {20}},
                                          [&](int64_t tokens) { heard->push_back(tokens); });
    EXPECT_TRUE(drift.ok()) << drift.status();
    return drift->lengths[0];
  };
  const auto all = sequences(100);
  std::vector<int64_t> heard;
  const eval::Stretch together = measure(all, &heard);
  EXPECT_EQ(together.tokens, 100 * 20);
  EXPECT_TRUE(std::is_sorted(heard.begin(), heard.end()));
  EXPECT_EQ(heard.back(), 100 * (12 + 20));
  double divergence = 0;
  for (int64_t i = 0; i < 100; ++i) divergence += measure(absl::MakeConstSpan(all).subspan(i, 1), &heard).divergence;
  EXPECT_NEAR(together.divergence, divergence / 100, 1e-10);
}

TEST_F(MeasuredDrift, MemoryDoesNotGrowWithTheSequences) {
  const auto peak = [&](int64_t count) {
    const std::vector<std::vector<int32_t>> sequences(count, RandomTokens(12 + 50, tiny_.vocab, 1));
    context_.arena().ResetPeak();
    EXPECT_TRUE(eval::MeasureDrift(context_, *model_, sequences, {.prefix = 12, .lengths = {50}}).ok());
    return context_.arena().peak();
  };
  EXPECT_EQ(peak(420), peak(42));
}

TEST_F(MeasuredDrift, RefusesWhatHasNoRec) {
  const auto odd = eval::MeasureDrift(context_, *model_, Sequences(30), {.prefix = 8, .lengths = {22}});
  EXPECT_THAT(std::string(odd.status().message()), HasSubstr("must be a multiple of 6"));
  const auto all = MakeModel(context_, {.chunks = {2, 3}, .shift = ModelConfig::ALL});
  EXPECT_FALSE(eval::MeasureDrift(context_, *all, Sequences(30), {.prefix = 6, .lengths = {24}}).ok());
  MakeNan(context_, *model_);
  const auto nan = eval::MeasureDrift(context_, *model_, Sequences(30), {.prefix = 6, .lengths = {24}});
  EXPECT_EQ(nan.status().code(), absl::StatusCode::kDataLoss);
}

}  // namespace
}  // namespace photon::testing
