#include "inference/sampler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "absl/strings/str_cat.h"
#include "core/random.h"
#include "tests/support/sampling_reference.h"

namespace photon {
namespace {

using ::testing::HasSubstr;

// Token `index` of a sequence: its draw is a function of (seed, index).
int32_t Sample(const std::vector<double>& logits, const SamplingOptions& options, int64_t index) {
  const double uniform = Philox(options.seed, /*stream=*/1).Uniform(static_cast<uint64_t>(index));
  return Sampler<double>().Sample(logits, options, uniform);
}
int32_t Greedy(const std::vector<double>& logits) { return Sample(logits, {.temperature = 0}, 0); }

TEST(Greedy, TiesTakeTheLowestId) {
  EXPECT_EQ(Greedy({1.0, 3.0, 3.0, 2.0}), 1);
  EXPECT_EQ(Greedy({5.0, 5.0}), 0);
  EXPECT_EQ(Greedy({-std::numeric_limits<double>::infinity(), -1.0}), 1);
}

TEST(Sample, TemperatureZeroIsGreedy) {
  for (int64_t i = 0; i < 50; ++i) EXPECT_EQ(Sample({1.0, 1.1, 1.1}, {.temperature = 0, .seed = 3}, i), 1);
}

std::vector<double> Frequencies(const std::vector<double>& logits, const SamplingOptions& options, int64_t draws) {
  std::vector<double> counts(logits.size());
  for (int64_t i = 0; i < draws; ++i) ++counts[Sample(logits, options, i)];
  for (double& count : counts) count /= static_cast<double>(draws);
  return counts;
}

void ExpectFrequencies(const std::vector<double>& logits, const SamplingOptions& options,
                       const std::vector<double>& want) {
  constexpr int64_t kDraws = 20000;
  const std::vector<double> got = Frequencies(logits, options, kDraws);
  for (size_t i = 0; i < want.size(); ++i) {
    // Five standard deviations of a binomial frequency; exactly 0 where a token is cut.
    EXPECT_NEAR(got[i], want[i], 5 * std::sqrt(want[i] * (1 - want[i]) / kDraws)) << "token " << i;
  }
}

const std::vector<double> kLogits = {std::log(0.1), std::log(0.4), std::log(0.2), std::log(0.3)};

TEST(Sample, FollowsTheSoftmax) { ExpectFrequencies(kLogits, {.temperature = 1, .seed = 7}, {0.1, 0.4, 0.2, 0.3}); }

TEST(Sample, IsIndifferentToAConstant) {
  std::vector<double> shifted = kLogits;
  for (double& logit : shifted) logit += 1000;
  ExpectFrequencies(shifted, {.temperature = 1, .seed = 7}, {0.1, 0.4, 0.2, 0.3});
}

TEST(Sample, TemperatureSharpens) {
  // Probabilities squared: 1, 16, 4, 9 of 30.
  ExpectFrequencies(kLogits, {.temperature = 0.5, .seed = 8}, {1 / 30.0, 16 / 30.0, 4 / 30.0, 9 / 30.0});
}

TEST(Sample, TopKKeepsTheMostLikely) {
  ExpectFrequencies(kLogits, {.temperature = 1, .top_k = 2, .seed = 9}, {0, 4 / 7.0, 0, 3 / 7.0});
  ExpectFrequencies(kLogits, {.temperature = 1, .top_k = 99, .seed = 9}, {0.1, 0.4, 0.2, 0.3});
  ExpectFrequencies({1, 1, 1, 1}, {.temperature = 1, .top_k = 2, .seed = 9}, {0.5, 0.5, 0, 0});
}

TEST(Sample, TopPKeepsTheFewestThatReachIt) {
  ExpectFrequencies(kLogits, {.temperature = 1, .top_p = 0.65, .seed = 10}, {0, 4 / 7.0, 0, 3 / 7.0});
  ExpectFrequencies(kLogits, {.temperature = 1, .top_p = 0.75, .seed = 10}, {0, 4 / 9.0, 2 / 9.0, 3 / 9.0});
  ExpectFrequencies(kLogits, {.temperature = 1, .top_p = 1e-9, .seed = 10}, {0, 1, 0, 0});
  // After top-k: of {4, 3} / 7 the first alone reaches 0.55.
  ExpectFrequencies(kLogits, {.temperature = 1, .top_k = 2, .top_p = 0.55, .seed = 10}, {0, 1, 0, 0});
}

TEST(Sample, DependsOnSeedAndIndexAlone) {
  const SamplingOptions options{.temperature = 1, .seed = 11};
  std::vector<int32_t> forward, backward;
  for (int64_t i = 0; i < 200; ++i) forward.push_back(Sample(kLogits, options, i));
  for (int64_t i = 199; i >= 0; --i) backward.insert(backward.begin(), Sample(kLogits, options, i));
  EXPECT_EQ(forward, backward);
  std::vector<int32_t> other;
  for (int64_t i = 0; i < 200; ++i) other.push_back(Sample(kLogits, {.temperature = 1, .seed = 12}, i));
  EXPECT_NE(forward, other);
}

TEST(Sample, NeverPicksMinusInfinity) {
  const double never = -std::numeric_limits<double>::infinity();
  ExpectFrequencies({never, 0, never, 0, never}, {.temperature = 1, .seed = 2}, {0, 0.5, 0, 0.5, 0});
}

TEST(Sample, MinPKeepsWhatIsLikelyEnough) {
  // 0.2 / 0.4 is exactly the half: kept at 0.49, cut at 0.51.
  ExpectFrequencies(kLogits, {.temperature = 1, .min_p = 0.49, .seed = 3}, {0, 4 / 9.0, 2 / 9.0, 3 / 9.0});
  ExpectFrequencies(kLogits, {.temperature = 1, .min_p = 0.51, .seed = 3}, {0, 4 / 7.0, 0, 3 / 7.0});
  ExpectFrequencies(kLogits, {.temperature = 1, .min_p = 1, .seed = 3}, {0, 1, 0, 0});
  // After temperature: at 0.5 the ratios are squared, 1 : 16 : 4 : 9.
  ExpectFrequencies(kLogits, {.temperature = 0.5, .min_p = 0.3, .seed = 3}, {0, 16 / 25.0, 0, 9 / 25.0});
}

TEST(Sample, TypicalPKeepsWhatIsNearTheEntropy) {
  // H = 1.280; | -log p - H | of 0.1, 0.4, 0.2, 0.3: 1.023, 0.364, 0.330, 0.076.
  ExpectFrequencies(kLogits, {.temperature = 1, .typical_p = 0.25, .seed = 4}, {0, 0, 0, 1});
  ExpectFrequencies(kLogits, {.temperature = 1, .typical_p = 0.45, .seed = 4}, {0, 0, 2 / 5.0, 3 / 5.0});
  ExpectFrequencies(kLogits, {.temperature = 1, .typical_p = 0.85, .seed = 4}, {0, 4 / 9.0, 2 / 9.0, 3 / 9.0});
  ExpectFrequencies(kLogits, {.temperature = 1, .typical_p = 0.95, .seed = 4}, {0.1, 0.4, 0.2, 0.3});
  // Then top-p, of what is left: 3/5 reach 0.6.
  ExpectFrequencies(kLogits, {.temperature = 1, .top_p = 0.59, .typical_p = 0.45, .seed = 4}, {0, 0, 0, 1});
}

ops::SamplingSettings Settings(const SamplingOptions& o) {
  return {.temperature = o.temperature, .top_k = o.top_k, .top_p = o.top_p, .min_p = o.min_p, .typical_p = o.typical_p};
}

// Draws at evenly spread uniforms: between two of them lies the same share of every token's probability, so counts are
// n p but for one draw at either end of a token's interval, and rounding.
template <typename A>
void ExpectReference(const std::vector<A>& logits, const SamplingOptions& options) {
  constexpr int kDraws = 2000;
  const std::vector<double> want = testing::ProbabilitiesBySorting({logits.begin(), logits.end()}, Settings(options));
  std::vector<double> counts(logits.size());
  Sampler<A> sampler;
  for (int i = 0; i < kDraws; ++i) ++counts[sampler.Sample(logits, options, (i + 0.5) / kDraws)];
  for (size_t i = 0; i < want.size(); ++i) EXPECT_NEAR(counts[i], kDraws * want[i], 1.01) << "token " << i;
}

template <typename A>
void ExpectReferenceForAll() {
  for (const size_t vocabulary : {5u, 64u, 65u, 1000u, 5000u}) {
    const Philox philox(17, vocabulary);
    std::vector<A> logits(vocabulary);
    for (size_t i = 0; i < vocabulary; ++i) logits[i] = static_cast<A>(3 * philox.Normal(i));
    for (const SamplingOptions& options : std::vector<SamplingOptions>{
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
             {.temperature = 1, .min_p = 0.02},
             {.temperature = 1, .typical_p = 0.5},
             {.temperature = 0.7, .top_k = 40, .top_p = 0.8, .min_p = 0.01, .typical_p = 0.9}}) {
      SCOPED_TRACE(absl::StrCat("vocabulary ", vocabulary, ", temperature ", options.temperature, ", top-k ",
                                options.top_k, ", top-p ", options.top_p, ", min-p ", options.min_p, ", typical-p ",
                                options.typical_p));
      ExpectReference(logits, options);
    }
  }
}
TEST(Sample, IsWhatSortingGivesInSinglePrecision) { ExpectReferenceForAll<float>(); }
TEST(Sample, IsWhatSortingGivesInDoublePrecision) { ExpectReferenceForAll<double>(); }

// Pearson's test at a fixed seed: chi-square of n categories has mean n - 1 and variance 2 (n - 1); five standard
// deviations above the mean are met by chance about once in a million seeds (the tail is a little heavier than a normal
// one's).
TEST(Sample, ChiSquareOfALargeVocabulary) {
  constexpr int kVocabulary = 500, kDraws = 200000;
  const Philox philox(5, 5);
  std::vector<float> logits(kVocabulary);
  for (int i = 0; i < kVocabulary; ++i) logits[i] = static_cast<float>(philox.Normal(i));
  for (const SamplingOptions& options : std::vector<SamplingOptions>{
           {.temperature = 1}, {.temperature = 1, .top_k = 100}, {.temperature = 1, .top_p = 0.9}}) {
    const std::vector<double> want = testing::ProbabilitiesBySorting({logits.begin(), logits.end()}, Settings(options));
    std::vector<double> counts(kVocabulary);
    Sampler<float> sampler;
    for (int i = 0; i < kDraws; ++i) ++counts[sampler.Sample(logits, options, Philox(21, 1).Uniform(i))];
    double chi_square = 0;
    int categories = 0;
    for (int i = 0; i < kVocabulary; ++i) {
      if (want[i] == 0) {
        EXPECT_EQ(counts[i], 0);
        continue;
      }
      const double expected = kDraws * want[i];
      chi_square += (counts[i] - expected) * (counts[i] - expected) / expected;
      ++categories;
    }
    EXPECT_LT(chi_square, categories - 1 + 5 * std::sqrt(2.0 * (categories - 1)));
    EXPECT_GT(chi_square, categories - 1 - 5 * std::sqrt(2.0 * (categories - 1)));  // too even is not random either
  }
}

TEST(Sample, OddRows) {
  const double never = -std::numeric_limits<double>::infinity();
  const std::vector<double> none(70, never);
  EXPECT_EQ(Sample(none, {.temperature = 1}, 0), 0);
  EXPECT_EQ(Sample(none, {.temperature = 1, .top_k = 2, .top_p = 0.5}, 0), 0);
  EXPECT_EQ(Sample({3}, {.temperature = 1, .top_k = 2, .typical_p = 0.2}, 0), 0);
  EXPECT_EQ(Sample({1, 2, 1}, {.temperature = 1e-320}, 0), 1);  // as good as greedy, no division to infinity
}

// Temperatures at which all that can be drawn is equally likely, and keys so near each other that their differences
// have no inverse.
template <typename A>
void ExpectEvenAt(double temperature) {
  constexpr A kNever = -std::numeric_limits<A>::infinity();
  const std::vector<A> logits = {1, kNever, 3, -2, 7, kNever, 0, 1};
  for (const SamplingOptions& cut :
       std::vector<SamplingOptions>{{},
                                    {.typical_p = 0.5},
                                    {.top_p = 0.5},
                                    {.min_p = 0.5},
                                    {.top_k = 3},
                                    {.top_k = 5, .top_p = 0.9, .min_p = 0.1, .typical_p = 0.9}}) {
    SamplingOptions options = cut;
    options.temperature = temperature;
    SCOPED_TRACE(absl::StrCat("temperature ", temperature, ", top-k ", cut.top_k, ", top-p ", cut.top_p, ", typical-p ",
                              cut.typical_p));
    Sampler<A> sampler;
    std::vector<int> counts(logits.size());
    for (int i = 0; i < 60; ++i) ++counts[sampler.Sample(logits, options, (i + 0.5) / 60)];
    // Of the six tokens of equal probability, so many as reach p, or k of them.
    const double kept = std::min<double>({6, cut.top_k > 0 ? static_cast<double>(cut.top_k) : 6});
    const double reach = std::ceil(std::ceil(kept * cut.typical_p - 1e-3) * cut.top_p - 1e-3);
    int drawn = 0;
    for (size_t i = 0; i < logits.size(); ++i) {
      if (counts[i] == 0) continue;
      ++drawn;
      EXPECT_NE(logits[i], kNever);
      EXPECT_NEAR(counts[i], 60 / reach, 1.01);
    }
    EXPECT_EQ(drawn, reach);
  }
}

TEST(Sample, HugeTemperatures) {
  for (const double temperature : {1e30, 1e37, 1e38, 1e300}) {
    ExpectEvenAt<float>(temperature);
    ExpectEvenAt<double>(temperature);
  }
}

TEST(Sample, EqualAndNearlyEqualLogits) {
  for (const SamplingOptions& options :
       {SamplingOptions{.temperature = 1, .typical_p = 0.5}, SamplingOptions{.temperature = 1, .top_p = 0.5}}) {
    ExpectReference<float>(std::vector<float>(200, 2.5f), options);
    std::vector<float> near(200, 0);
    for (size_t i = 0; i < near.size(); i += 2) near[i] = 1e-38f;
    Sampler<float> sampler;
    for (int i = 0; i < 100; ++i) {
      const int32_t token = sampler.Sample(near, options, (i + 0.5) / 100);
      EXPECT_TRUE(token >= 0 && token < 200) << token;
    }
  }
}

TEST(ValidateSampling, NamesTheOption) {
  EXPECT_TRUE(ValidateSampling({}).ok());
  EXPECT_THAT(std::string(ValidateSampling({.temperature = -1}).message()), HasSubstr("temperature is -1"));
  EXPECT_THAT(std::string(ValidateSampling({.temperature = NAN}).message()), HasSubstr("temperature is nan"));
  EXPECT_THAT(std::string(ValidateSampling({.top_k = -3}).message()), HasSubstr("top-k is -3"));
  EXPECT_THAT(std::string(ValidateSampling({.top_p = 0}).message()), HasSubstr("top-p is 0"));
  EXPECT_THAT(std::string(ValidateSampling({.top_p = 1.5}).message()), HasSubstr("top-p is 1.5"));
  EXPECT_THAT(std::string(ValidateSampling({.min_p = -0.1}).message()), HasSubstr("min-p is -0.1"));
  EXPECT_THAT(std::string(ValidateSampling({.min_p = NAN}).message()), HasSubstr("min-p"));
  EXPECT_THAT(std::string(ValidateSampling({.typical_p = 0}).message()), HasSubstr("typical-p is 0"));
  EXPECT_THAT(std::string(ValidateSampling({.repetition_penalty = 0}).message()), HasSubstr("repetition-penalty is 0"));
  EXPECT_THAT(std::string(ValidateSampling({.presence_penalty = 101}).message()), HasSubstr("presence-penalty"));
  EXPECT_THAT(std::string(ValidateSampling({.frequency_penalty = NAN}).message()), HasSubstr("frequency-penalty"));
  SamplingOptions biased;
  biased.logit_bias = {{3, INFINITY}};
  EXPECT_THAT(std::string(ValidateSampling(biased).message()), HasSubstr("logit-bias"));
  biased.logit_bias = {{3, -INFINITY}};
  EXPECT_TRUE(ValidateSampling(biased).ok());
}

}  // namespace
}  // namespace photon
