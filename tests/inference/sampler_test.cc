#include "inference/sampler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "core/random.h"

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

TEST(ValidateSampling, NamesTheOption) {
  EXPECT_TRUE(ValidateSampling({}).ok());
  EXPECT_THAT(std::string(ValidateSampling({.temperature = -1}).message()), HasSubstr("temperature is -1"));
  EXPECT_THAT(std::string(ValidateSampling({.temperature = NAN}).message()), HasSubstr("temperature is nan"));
  EXPECT_THAT(std::string(ValidateSampling({.top_k = -3}).message()), HasSubstr("top-k is -3"));
  EXPECT_THAT(std::string(ValidateSampling({.top_p = 0}).message()), HasSubstr("top-p is 0"));
  EXPECT_THAT(std::string(ValidateSampling({.top_p = 1.5}).message()), HasSubstr("top-p is 1.5"));
}

}  // namespace
}  // namespace photon
