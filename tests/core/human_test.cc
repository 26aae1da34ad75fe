#include "core/human.h"

#include <gtest/gtest.h>

#include <cstdint>

namespace photon {
namespace {

TEST(Human, Bytes) {
  EXPECT_EQ(HumanBytes(0), "0 B");
  EXPECT_EQ(HumanBytes(999), "999 B");
  EXPECT_EQ(HumanBytes(1000), "1.0 kB");
  EXPECT_EQ(HumanBytes(1549999), "1.5 MB");
  EXPECT_EQ(HumanBytes(INT64_MAX), "9223372.0 TB");
}

TEST(Human, ParsesAmounts) {
  EXPECT_EQ(*ParseBytes("1"), 1);
  EXPECT_EQ(*ParseBytes("4MiB"), 4 << 20);
  EXPECT_EQ(*ParseBytes("1.5kB"), 1500);
  for (const char* bad : {"", "0", "0.5", "-1GiB", "1 XB", "GiB", "1e30"}) EXPECT_FALSE(ParseBytes(bad).ok()) << bad;
}

TEST(Human, Count) {
  EXPECT_EQ(HumanCount(0), "0");
  EXPECT_EQ(HumanCount(999), "999");
  EXPECT_EQ(HumanCount(-999), "-999");
  EXPECT_EQ(HumanCount(1234567), "1,234,567");
  EXPECT_EQ(HumanCount(-123456), "-123,456");
}

TEST(Human, Duration) {
  EXPECT_EQ(HumanDuration(0.4), "0s");
  EXPECT_EQ(HumanDuration(59.4), "59s");
  EXPECT_EQ(HumanDuration(59.6), "1m00s");
  EXPECT_EQ(HumanDuration(200), "3m20s");
  EXPECT_EQ(HumanDuration(3599.6), "1h00m");
  EXPECT_EQ(HumanDuration(100000), "27h46m");
}

}  // namespace
}  // namespace photon
