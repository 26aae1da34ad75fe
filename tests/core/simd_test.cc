#include "core/cpu/simd.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <limits>
#include <vector>

namespace photon::cpu {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

float ExpOf(float x) {
  float out[kLanes<float>];
  Store(out, Exp(Broadcast(x)));
  return out[kLanes<float> - 1];
}

TEST(Simd, ExpIsWithinTwoUlp) {
  constexpr int kSteps = 1 << 20;
  double worst = 0;
  for (int i = 0; i < kSteps; i += kLanes<float>) {
    float x[kLanes<float>], y[kLanes<float>];
    for (int k = 0; k < kLanes<float>; ++k) x[k] = -87.336f + 176.05f * static_cast<float>(i + k) / kSteps;
    Store(y, Exp(Load(x)));
    for (int k = 0; k < kLanes<float>; ++k) {
      const double want = std::exp(static_cast<double>(x[k]));
      const double ulp = std::ldexp(1.0, std::ilogb(want) - 23);
      worst = std::max(worst, std::abs(y[k] - want) / ulp);
    }
  }
  EXPECT_LE(worst, 2);
  EXPECT_GT(worst, 0);
}

TEST(Simd, ExpAtTheEnds) {
  EXPECT_EQ(ExpOf(0), 1);
  EXPECT_EQ(ExpOf(-0.0f), 1);
  EXPECT_EQ(ExpOf(-kInfinity), 0);
  EXPECT_EQ(ExpOf(-1e30f), 0);
  EXPECT_EQ(ExpOf(-87.4f), 0);
  EXPECT_GT(ExpOf(-87.33f), 0);
  EXPECT_GT(ExpOf(kInfinity), 3e38f);
  EXPECT_EQ(ExpOf(kInfinity), ExpOf(1000));
  EXPECT_TRUE(std::isfinite(ExpOf(1000)));
  EXPECT_TRUE(std::isnan(ExpOf(kNan)));
  EXPECT_TRUE(std::isnan(ExpOf(std::bit_cast<float>(0x7fc00001u))));  // a payload must not reach the exponent
  EXPECT_TRUE(std::isnan(ExpOf(std::bit_cast<float>(0xffffffffu))));
}

TEST(Simd, LogIsWithinTwoUlp) {
  double worst = 0;
  for (uint32_t bits = 0x00800000u; bits < 0x7f800000u; bits += 997 * kLanes<float>) {
    float x[kLanes<float>], y[kLanes<float>];
    for (int k = 0; k < kLanes<float>; ++k) x[k] = std::bit_cast<float>(std::min(bits + 997 * k, 0x7f7fffffu));
    Store(y, Log(Load(x)));
    for (int k = 0; k < kLanes<float>; ++k) {
      const double want = std::log(static_cast<double>(x[k]));
      const double ulp = want == 0 ? 0x1p-149 : std::ldexp(1.0, std::ilogb(want) - 23);
      worst = std::max(worst, std::abs(y[k] - want) / ulp);
    }
  }
  EXPECT_LE(worst, 2);
  EXPECT_GT(worst, 0);
}

TEST(Simd, DoubleExpIsTheLibrarys) {
  double out[kLanes<double>];
  Store(out, Exp(Broadcast(-3.25)));
  for (double y : out) EXPECT_EQ(y, std::exp(-3.25));
}

// Every bf16 is loaded as its value, and every upper half of a float, with lower halves around the tie, is rounded as
// the scalar conversion does (whose rule is checked below on named cases). Subnormal numbers may become 0.
TEST(Simd, BFloat16MatchesScalarConversion) {
  for (uint32_t upper = 0; upper < 0x10000; upper += kLanes<float>) {
    BFloat16 half[kLanes<float>];
    float value[kLanes<float>];
    for (int k = 0; k < kLanes<float>; ++k) half[k].bits = static_cast<uint16_t>(upper + k);
    Store(value, Load(half));
    for (int k = 0; k < kLanes<float>; ++k) ASSERT_EQ(std::bit_cast<uint32_t>(value[k]), (upper + k) << 16);
    for (uint32_t lower : {0x0u, 0x1u, 0x7fffu, 0x8000u, 0x8001u, 0xffffu}) {
      for (int k = 0; k < kLanes<float>; ++k) value[k] = std::bit_cast<float>((upper + k) << 16 | lower);
      Store(half, Load(value));
      for (int k = 0; k < kLanes<float>; ++k) {
        const uint16_t want = BFloat16(value[k]).bits;
        if (std::fpclassify(value[k]) == FP_SUBNORMAL && (half[k].bits & 0x7fff) == 0) continue;
        ASSERT_EQ(half[k].bits, want) << upper + k << " " << lower;
      }
    }
  }
}

TEST(Simd, BFloat16RoundsToNearestEven) {
  const auto round = [](float x) {
    BFloat16 half[kLanes<float>];
    Store(half, Broadcast(x));
    return static_cast<float>(half[3]);
  };
  EXPECT_EQ(round(1.0f), 1.0f);
  EXPECT_EQ(round(1.0f + 0x1p-8f), 1.0f);               // tie: to even, down
  EXPECT_EQ(round(1.0f + 0x3p-8f), 1.0f + 0x4p-8f);     // tie: to even, up
  EXPECT_EQ(round(1.0f + 0x1.01p-8f), 1.0f + 0x1p-7f);  // just above the tie
  EXPECT_EQ(round(kInfinity), kInfinity);
  EXPECT_EQ(round(-kInfinity), -kInfinity);
  EXPECT_EQ(round(std::numeric_limits<float>::max()), kInfinity);
  EXPECT_TRUE(std::isnan(round(kNan)));
  EXPECT_TRUE(std::isnan(round(std::bit_cast<float>(0x7f800001u))));  // payload in the lower half alone
  EXPECT_TRUE(std::isnan(round(std::bit_cast<float>(0xffffffffu))));  // a carry would make it 0
  EXPECT_TRUE(std::signbit(round(-0.0f)));
}

template <typename T>
class SimdPartial : public ::testing::Test {};
using Types = ::testing::Types<double, float, BFloat16>;
TYPED_TEST_SUITE(SimdPartial, Types);

TYPED_TEST(SimdPartial, TouchesTheFirstLanesAlone) {
  using T = TypeParam;
  using A = AccumulateType<T>;
  constexpr int kN = kLanes<A>;
  for (int n = 0; n < kN; ++n) {
    std::vector<T> in(n);  // exactly n: a sanitizer sees reads beyond
    for (int i = 0; i < n; ++i) in[i] = T(static_cast<A>(i + 1));
    const Vec<A> v = LoadPartial(in.data(), n, A{-7});
    for (int i = 0; i < kN; ++i) EXPECT_EQ(v[i], i < n ? i + 1 : -7);
    std::vector<T> out(kN, T(A{99}));
    StorePartial(out.data(), n, v);
    for (int i = 0; i < kN; ++i) EXPECT_EQ(static_cast<A>(out[i]), i < n ? i + 1 : 99);
  }
}

TYPED_TEST(SimdPartial, ReducesEveryLane) {
  using A = AccumulateType<TypeParam>;
  constexpr int kN = kLanes<A>;
  for (int hot = 0; hot < kN; ++hot) {
    Vec<A> v{};
    for (int i = 0; i < kN; ++i) v[i] = i == hot ? 1000 : -i;
    A sum = 0;
    for (int i = 0; i < kN; ++i) sum += v[i];
    EXPECT_EQ(Sum<A>(v), sum);  // small integers: exact in any order
    EXPECT_EQ(Max<A>(v), 1000);
    EXPECT_EQ(Max<A>(Vec<A>(-1000 - v * v)), -1000 - (hot == 0 ? 1 : 0)) << hot;
  }
}

TYPED_TEST(SimdPartial, ForEachVectorCoversTheRowOnce) {
  using A = AccumulateType<TypeParam>;
  for (int64_t n : {0, 1, 7, 8, 15, 16, 17, 31, 32, 63, 200}) {
    std::vector<TypeParam> row(n, TypeParam(A{1}));
    ForEachVector<A>(n, [&](int64_t i, auto lanes) { Store(row.data() + i, Load(row.data() + i, lanes) * 2, lanes); });
    for (const TypeParam& x : row) EXPECT_EQ(static_cast<A>(x), 2);
  }
}

}  // namespace
}  // namespace photon::cpu
