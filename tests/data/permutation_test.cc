#include "data/permutation.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <set>
#include <vector>

namespace photon {
namespace {

TEST(Permutation, IsABijectionForEverySize) {
  for (int64_t n = 1; n <= 300; ++n) {
    const Permutation order(n, 5, static_cast<uint64_t>(n % 3));
    std::vector<bool> seen(n);
    for (int64_t i = 0; i < n; ++i) {
      const int64_t value = order(i);
      ASSERT_TRUE(value >= 0 && value < n) << n;
      ASSERT_FALSE(seen[value]) << n;
      seen[value] = true;
    }
  }
}

TEST(Permutation, IsABijectionAroundPowersOfTwo) {
  for (int64_t n : {(1 << 16) - 1, 1 << 16, (1 << 16) + 1, 100003}) {
    const Permutation order(n, 1, 2);
    std::vector<bool> seen(n);
    for (int64_t i = 0; i < n; ++i) seen[order(i)] = true;
    for (int64_t i = 0; i < n; ++i) ASSERT_TRUE(seen[i]) << n << ": " << i;
  }
}

TEST(Permutation, CoversSizesBeyond32Bits) {
  const int64_t n = (int64_t{1} << 40) + 12345;
  const Permutation order(n, 1, 0);
  std::set<int64_t> values;
  int64_t largest = 0;
  for (int64_t i = 0; i < 10000; ++i) {
    const int64_t value = order(n - 1 - i);
    ASSERT_TRUE(value >= 0 && value < n);
    values.insert(value);
    largest = std::max(largest, value);
  }
  EXPECT_EQ(values.size(), 10000u);
  EXPECT_GT(largest, n / 10 * 9);  // fails by chance with probability 0.9^10000
}

TEST(Permutation, DiffersBySeedAndEpochAlone) {
  const auto orders = [](uint64_t seed, uint64_t epoch) {
    const Permutation order(1000, seed, epoch);
    std::vector<int64_t> values;
    for (int64_t i = 0; i < 1000; ++i) values.push_back(order(i));
    return values;
  };
  EXPECT_EQ(orders(1, 0), orders(1, 0));
  EXPECT_NE(orders(1, 0), orders(1, 1));
  EXPECT_NE(orders(1, 0), orders(2, 0));
  // Two unrelated orders of n agree in one place on average, in more than 12 with probability below 1e-9 (Poisson).
  int same = 0;
  const auto a = orders(1, 0), b = orders(1, 1);
  for (size_t i = 0; i < a.size(); ++i) same += a[i] == b[i];
  EXPECT_LE(same, 12);
}

// Chi-squared over the cells (index, value) of many keys. For df degrees of freedom the statistic has mean df and
// standard deviation sqrt(2 df); six of them bound it.
TEST(Permutation, EveryIndexGoesEverywhereEquallyOften) {
  for (int64_t n : {5, 16, 37}) {
    constexpr int kKeys = 20000;
    std::vector<int> counts(n * n);
    for (int key = 0; key < kKeys; ++key) {
      const Permutation order(n, 99, key);
      for (int64_t i = 0; i < n; ++i) ++counts[i * n + order(i)];
    }
    const double want = static_cast<double>(kKeys) / static_cast<double>(n);
    double statistic = 0;
    for (int count : counts) statistic += (count - want) * (count - want) / want;
    const double freedom = static_cast<double>((n - 1) * (n - 1));
    EXPECT_LE(statistic, freedom + 6 * std::sqrt(2 * freedom)) << n;
  }
}

// Neighbours must not stay neighbours: the mean distance of images of i and i + 1 is n / 3 for a random order, its
// standard error about n / (4 sqrt(n)).
TEST(Permutation, NeighboursAreScattered) {
  constexpr int64_t kSize = 4097;
  const Permutation order(kSize, 4, 0);
  double distance = 0;
  for (int64_t i = 0; i + 1 < kSize; ++i) distance += std::abs(static_cast<double>(order(i) - order(i + 1)));
  EXPECT_NEAR(distance / kSize, kSize / 3.0, 6 * kSize / (4 * std::sqrt(kSize)));
}

}  // namespace
}  // namespace photon
