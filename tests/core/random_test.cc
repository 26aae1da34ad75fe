#include "core/random.h"

#include <gtest/gtest.h>

#include <cmath>
#include <set>
#include <vector>

namespace photon {
namespace {

using Words = std::array<uint32_t, 4>;

// The known answers of Random123 (Salmon et al. 2011, kat_vectors) for philox4x32 with 10 rounds. Its counter words
// c0..c3 are here counter (low, high) and stream (low, high); its key words k0, k1 are key (low, high).
TEST(Philox, KnownAnswers) {
  EXPECT_EQ(Philox(0, 0).Block(0), (Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(Philox(~uint64_t{0}, ~uint64_t{0}).Block(~uint64_t{0}),
            (Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  // Digits of pi: counter 243f6a88 85a308d3 13198a2e 03707344, key a4093822 299f31d0.
  EXPECT_EQ(Philox(0x299f31d0a4093822, 0x0370734413198a2e).Block(0x85a308d3243f6a88),
            (Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(Philox, EveryInputMatters) {
  std::set<Words> blocks;
  for (const uint64_t key : {uint64_t{0}, uint64_t{1}, uint64_t{1} << 32}) {
    for (const uint64_t stream : {uint64_t{0}, uint64_t{1}, uint64_t{1} << 32}) {
      for (const uint64_t counter : {uint64_t{0}, uint64_t{1}, uint64_t{1} << 32})
        blocks.insert(Philox(key, stream).Block(counter));
    }
  }
  EXPECT_EQ(blocks.size(), 27u);
}

// Moments of n draws lie within 5 standard errors of the true ones (the draws are fixed, so this passes or fails for
// good).
TEST(Philox, UniformMoments) {
  constexpr int kDraws = 100'000;
  const Philox philox(3, 4);
  double sum = 0, squares = 0, low = 1, high = 0;
  std::vector<int> tenths(10);
  for (int i = 0; i < kDraws; ++i) {
    const double u = philox.Uniform(i);
    ASSERT_GE(u, 0);
    ASSERT_LT(u, 1);
    sum += u, squares += u * u, low = std::min(low, u), high = std::max(high, u);
    ++tenths[static_cast<int>(u * 10)];
  }
  EXPECT_NEAR(sum / kDraws, 0.5, 5 * std::sqrt(1.0 / 12 / kDraws));
  EXPECT_NEAR(squares / kDraws, 1.0 / 3, 5 * std::sqrt(4.0 / 45 / kDraws));
  EXPECT_LT(low, 10.0 / kDraws);
  EXPECT_GT(high, 1 - 10.0 / kDraws);
  for (const int count : tenths) EXPECT_NEAR(count, kDraws / 10, 5 * std::sqrt(kDraws * 0.09));
}

TEST(Philox, NormalMoments) {
  constexpr int kDraws = 100'000;
  const Philox philox(3, 5);
  double sum[5] = {}, neighbours = 0, last = 0;
  int beyond_two = 0;
  for (int i = 0; i < kDraws; ++i) {
    const double x = philox.Normal(i);
    ASSERT_TRUE(std::isfinite(x));
    for (int k = 1; k <= 4; ++k) sum[k] += std::pow(x, k);
    neighbours += x * last, last = x;
    beyond_two += std::abs(x) > 2;
  }
  // Var(x^k) = E x^2k - (E x^k)^2: 1, 2, 15, 96.
  const double root = std::sqrt(1.0 / kDraws);
  EXPECT_NEAR(sum[1] / kDraws, 0, 5 * root);
  EXPECT_NEAR(sum[2] / kDraws, 1, 5 * std::sqrt(2.0) * root);
  EXPECT_NEAR(sum[3] / kDraws, 0, 5 * std::sqrt(15.0) * root);
  EXPECT_NEAR(sum[4] / kDraws, 3, 5 * std::sqrt(96.0) * root);
  EXPECT_NEAR(neighbours / kDraws, 0, 5 * root);
  const double share = std::erfc(std::sqrt(2.0));  // P(|x| > 2)
  EXPECT_NEAR(beyond_two, share * kDraws, 5 * std::sqrt(share * kDraws));
}

// Initial weights hang on it: these are XXH3's values on every machine.
TEST(StableHash, IsXxh3) {
  EXPECT_EQ(StableHash(""), 0x2d06800538d394c2u);
  EXPECT_NE(StableHash("a"), StableHash("b"));
  EXPECT_EQ(StableHash(std::string("a\0b", 3)), StableHash(absl::string_view("a\0b", 3)));
  EXPECT_NE(StableHash(std::string("a\0b", 3)), StableHash("a"));
}

}  // namespace
}  // namespace photon
