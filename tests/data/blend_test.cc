#include "data/blend.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/random.h"
#include "data/round_in_two_orders.h"

namespace photon {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Wide = __int128;

std::shared_ptr<const Blend> MakeBlend(std::vector<int64_t> parts, uint64_t seed = 1) {
  auto blend = Blend::Create(std::move(parts), seed);
  EXPECT_TRUE(blend.ok()) << blend.status();
  return *blend;
}

// Positions [first, first + count): every count stays within less than one sample of n w, and ranks count up.
void ExpectExactShares(const Blend& blend, int64_t first, int64_t count) {
  const Wide sum = std::accumulate(blend.parts().begin(), blend.parts().end(), int64_t{0});
  std::vector<int64_t> had(blend.sources());
  for (int i = 0; i < blend.sources(); ++i) had[i] = blend.Count(i, first);
  ASSERT_EQ(std::accumulate(had.begin(), had.end(), int64_t{0}), first);
  for (int64_t n = first; n < first + count; ++n) {
    const Blend::Place place = blend.At(n);
    ASSERT_EQ(place.rank, had[place.source]++) << "position " << n;
    for (int i = 0; i < blend.sources(); ++i) {
      const Wide lead = had[i] * sum - (n + 1) * Wide{blend.parts()[i]};  // times `sum`, exactly
      ASSERT_TRUE(-sum < lead && lead < sum)
          << "source " << i << " after " << n + 1 << " samples of share " << blend.share(i) << ": off by "
          << static_cast<double>(lead) / static_cast<double>(sum);
    }
  }
}

TEST(Blend, SharesAreExactForHandPickedParts) {
  for (const std::vector<int64_t>& parts : std::vector<std::vector<int64_t>>{
           {1}, {1, 1}, {7, 3}, {1, 1, 1}, {5, 3, 2}, {97, 1, 1, 1}, {24, 24, 24, 24, 2, 2}, {1, 2, 4, 8, 16, 32}}) {
    ExpectExactShares(*MakeBlend(parts), 0, 3000);
  }
}

// Random parts, small and huge, at the start, around borders of blocks and far out.
TEST(Blend, SharesAreExactForRandomPartsAndPositions) {
  for (uint64_t round = 0; round < 60; ++round) {
    const Philox random(11, round);
    uint64_t draw = 0;
    const auto below = [&](int64_t n) { return static_cast<int64_t>(random.Uniform(draw++) * static_cast<double>(n)); };
    std::vector<int64_t> parts(2 + below(round % 3 == 0 ? 40 : 6));
    // Shares that differ by up to 1 : 2000, so that blocks stay short; sums up to 2^39.
    const int64_t unit = int64_t{1} << below(24);
    for (int64_t& part : parts) {
      part = static_cast<int64_t>(static_cast<double>(unit) * std::exp2(random.Uniform(draw++) * 9)) + below(unit) + 1;
    }
    const auto blend = MakeBlend(parts, round);
    ExpectExactShares(*blend, 0, 2100);
    const int64_t far = below(int64_t{1} << 40);
    ExpectExactShares(*blend, far / 32768 * 32768 + 32768 - 700, 1400);
    ExpectExactShares(*blend, far, 100);
  }
}

TEST(Blend, AnySampleIsTheSameHoweverItIsReached) {
  const auto in_order = MakeBlend({500, 301, 77, 13, 1}, 3);
  const auto at_random = MakeBlend({500, 301, 77, 13, 1}, 3);
  const Philox random(5, 0);
  std::vector<Blend::Place> places;
  for (int64_t n = 0; n < 6000; ++n) places.push_back(in_order->At(n));
  for (uint64_t i = 0; i < 500; ++i) {
    const auto n = static_cast<int64_t>(random.Block(i)[0] % places.size());
    const Blend::Place place = at_random->At(n);
    EXPECT_EQ(place.source, places[n].source) << n;
    EXPECT_EQ(place.rank, places[n].rank) << n;
    EXPECT_EQ(at_random->PositionOf(place.source, place.rank), n);
  }
  const int64_t far = in_order->PositionOf(4, 1'000'000'000'000);
  EXPECT_EQ(in_order->At(far).source, 4);
  EXPECT_EQ(in_order->At(far).rank, 1'000'000'000'000);
}

TEST(Blend, RareSourcesComeAtTheirRate) {
  const auto blend = MakeBlend({Blend::kRarest - 1, 1});
  const int64_t first = blend->PositionOf(1, 0), tenth = blend->PositionOf(1, 9);
  EXPECT_LT(first, Blend::kRarest);
  EXPECT_TRUE(9 * Blend::kRarest <= tenth && tenth < 10 * Blend::kRarest) << tenth;
  EXPECT_THAT(Blend::Create({2 * Blend::kRarest, 1}, 1).status().message(), HasSubstr("source 1"));
}

TEST(Blend, TheSeedDrawsWhatTheSharesLeaveOpen) {
  const auto order = [](uint64_t seed) {
    const auto blend = MakeBlend({1, 1, 1, 1}, seed);
    std::vector<int> sources;
    for (int64_t n = 0; n < 400; ++n) sources.push_back(blend->At(n).source);
    return sources;
  };
  EXPECT_EQ(order(1), order(1));
  EXPECT_NE(order(1), order(2));
  // Each four samples hold each source once, in an order drawn anew: four in a row alike would be no shuffle.
  const std::vector<int> sources = order(1);
  int repeated = 0;
  for (size_t n = 4; n < sources.size(); n += 4) repeated += std::equal(&sources[n], &sources[n] + 4, &sources[n - 4]);
  EXPECT_LE(repeated, 20);  // of 99, by chance 1 in 24: mean 4, standard deviation 2
}

// Against the definition, prefix by prefix of both orders.
TEST(RoundInTwoOrders, PrefixesOfBothOrdersAreRoundedToANeighbour) {
  constexpr int64_t kOne = 1000;
  for (uint64_t round = 0; round < 300; ++round) {
    const Philox random(2, round);
    std::vector<Rounded> first;
    int64_t sum = 0;
    const size_t count = 2 + random.Block(0)[0] % 20;
    for (size_t i = 0; i < count; ++i) {
      first.push_back({.item = i, .fraction = 1 + random.Block(i + 1)[0] % (kOne - 1)});
      sum += first.back().fraction;
    }
    if (sum % kOne != 0) first.push_back({.item = count, .fraction = kOne - sum % kOne});
    std::vector<Rounded> second = first;
    std::sort(second.begin(), second.end(), [&](const Rounded& a, const Rounded& b) {
      return random.Block(100 + a.item) < random.Block(100 + b.item);
    });
    const std::vector<size_t> chosen = RoundInTwoOrders(first, second, kOne);
    for (const auto* order : {&first, &second}) {
      int64_t exact = 0, got = 0;
      for (const Rounded& r : *order) {
        exact += r.fraction;
        got += std::count(chosen.begin(), chosen.end(), r.item);
        ASSERT_LT(std::abs(got * kOne - exact), kOne);
      }
      ASSERT_EQ(got * kOne, exact);
    }
  }
}

TEST(PartsOfWeights, TakesDecimalsAsTheyAreWritten) {
  EXPECT_THAT(PartsOfWeights({0.7, 0.3}), ElementsAre(7, 3));
  EXPECT_THAT(PartsOfWeights({0.25, 0.5, 0.25}), ElementsAre(1, 2, 1));
  EXPECT_THAT(PartsOfWeights({1e-5, 0, 3}), ElementsAre(1, 0, 300000));
  EXPECT_THAT(PartsOfWeights({1e300, 3e300}), ElementsAre(1, 3));
  EXPECT_THAT(PartsOfWeights({42}), ElementsAre(1));
  EXPECT_THAT(PartsOfWeights({0.123456789, 0.876543211}), ElementsAre(123456789, 876543211));
}

TEST(PartsOfWeights, RoundsWhatHasTooManyDigits) {
  const std::vector<int64_t> parts = PartsOfWeights({1.0 / 3, 2.0 / 3, 1e-300});
  const double sum = static_cast<double>(parts[0] + parts[1] + parts[2]);
  EXPECT_NEAR(static_cast<double>(parts[0]) / sum, 1.0 / 3, 0x1p-40);
  EXPECT_GT(parts[2], 0) << "a weight that isn't zero never becomes it";
  EXPECT_LE(sum, 2.0 * static_cast<double>(Blend::kMostParts));
}

}  // namespace
}  // namespace photon
