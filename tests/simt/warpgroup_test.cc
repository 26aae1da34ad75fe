// The emulator's warpgroups: products against plain loops, barriers, and the mistakes that they are there to find.
#include "warpgroup.h"

#include <cuda_runtime.h>
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <random>
#include <vector>

#include "tests/simt/emulator/order.h"
#include "tests/simt/launches.h"

namespace photon::cuda {
namespace {

using simt::ThreadOrder;

constexpr size_t kShared = 40 << 10;

// Where element [line][column] of lines of 64 lies: whole pieces of eight change places.
int Swizzled(int line, int column) { return line * 64 + (column / 8 ^ line % 8) * 8 + column % 8; }

// d [64, 8 kTiles] = a [64, 64] b [64, 8 kTiles]. kAcross: b in shared memory is [depth][column], panels of 64 columns
// one behind the other; else [column][depth].
template <int kTiles, bool kAcross, bool kLeftInRegisters>
__global__ void Multiplies(const uint16_t* a, const uint16_t* b, float* d) {
  constexpr int kColumns = 8 * kTiles;
  uint16_t* const left = SwizzledShared<uint16_t>();
  uint16_t* const right = left + 64 * 64;
  for (int i = threadIdx.x; i < 64 * 64; i += kWarpgroup) left[Swizzled(i / 64, i % 64)] = a[i];
  for (int i = threadIdx.x; i < 64 * kColumns; i += kWarpgroup) {
    const int depth = i / kColumns, column = i % kColumns;
    right[kAcross ? column / 64 * 64 * 64 + Swizzled(depth, column % 64) : Swizzled(column, depth)] = b[i];
  }
  ShowToProducts();
  __syncthreads();
  const int warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
  float sums[kTiles][4];
  OrderRegisters();
  for (int step = 0; step < 4; ++step) {
    const uint64_t factor = kAcross ? SwizzledFactor(right + 16 * step * 64, 64 * 64 * 2, 1024)
                                    : SwizzledFactor(right + 16 * step, 0, 1024);
    if constexpr (kLeftInRegisters) {
      uint32_t registers[4];
      for (int r = 0; r < 4; ++r) {
        const int row = 16 * warp + lane / 4 + r % 2 * 8, column = 16 * step + lane % 4 * 2 + r / 2 * 8;
        registers[r] = a[row * 64 + column] | static_cast<uint32_t>(a[row * 64 + column + 1]) << 16;
      }
      Product<kAcross>(sums, registers, factor, step > 0);
    } else {
      Product(sums, SwizzledFactor(left + 16 * step, 0, 1024), factor, step > 0);
    }
  }
  CommitProducts();
  WaitForProducts<0>(sums);
  for (int i = 0; i < 4 * kTiles; ++i) {
    const int row = 16 * warp + lane / 4 + i / 2 % 2 * 8, column = i / 4 * 8 + lane % 4 * 2 + i % 2;
    d[row * kColumns + column] = sums[i / 4][i % 4];
  }
}

float Value(uint16_t bf16) { return std::bit_cast<float>(static_cast<uint32_t>(bf16) << 16); }

template <int kTiles, bool kAcross, bool kLeftInRegisters>
void ExpectProduct() {
  constexpr int kColumns = 8 * kTiles;
  std::mt19937 random(kTiles);
  const auto draw = [&](int n) {
    std::vector<uint16_t> values(n);
    std::normal_distribution<float> normal;
    for (uint16_t& v : values) v = static_cast<uint16_t>(simt::RoundToBf16(normal(random)));
    return values;
  };
  const Buffer<uint16_t> a(draw(64 * 64)), b(draw(64 * kColumns));
  const Buffer<float> d(std::vector<float>(64 * kColumns, NAN));
  ASSERT_EQ(Start(Multiplies<kTiles, kAcross, kLeftInRegisters>, 1, kWarpgroup, kShared, a.data, b.data, d.data),
            cudaSuccess);
  const std::vector<uint16_t> left = a.Values(), right = b.Values();
  const std::vector<float> got = d.Values();
  for (int i = 0; i < 64; ++i) {
    for (int j = 0; j < kColumns; ++j) {
      double want = 0, size = 0;
      for (int k = 0; k < 64; ++k) {
        const double term = double{Value(left[i * 64 + k])} * Value(right[k * kColumns + j]);
        want += term;
        size += std::abs(term);
      }
      ASSERT_NEAR(got[i * kColumns + j], want, 64 * 0x1p-24 * size) << i << ", " << j;  // 64 f32 additions
    }
  }
}

TEST(Warpgroup, ProductsAreTheDefinition) {
  ExpectProduct<8, false, false>();
  ExpectProduct<16, false, false>();
  ExpectProduct<8, false, true>();
  ExpectProduct<8, true, true>();
  ExpectProduct<16, true, true>();
}

// Warpgroup 1 writes one number a round, 0 reads them: two places, each given back by an arrival of every reader.
__global__ void PassesNumbers(int* out, int rounds) {
  auto* const barriers = DynamicShared<SharedBarrier>();  // full, empty of two places
  int* const numbers = reinterpret_cast<int*>(barriers + 4);
  if (threadIdx.x == 0) {
    for (int place = 0; place < 2; ++place) {
      Init(&barriers[place], 1);
      Init(&barriers[2 + place], kWarpgroup);
    }
  }
  __syncthreads();
  for (int round = 0; round < rounds; ++round) {
    const int place = round % 2, phase = round / 2 % 2;
    if (threadIdx.x >= kWarpgroup) {
      if (threadIdx.x != kWarpgroup) continue;
      Wait(&barriers[2 + place], phase ^ 1);
      numbers[place] = 10 * round;
      Arrive(&barriers[place]);
    } else {
      Wait(&barriers[place], phase);
      out[round * kWarpgroup + threadIdx.x] = numbers[place];
      Arrive(&barriers[2 + place]);
    }
  }
  if (threadIdx.x < kWarpgroup) {  // and in turns: the second pair of warps after the first
    if (threadIdx.x / 64 == 0) {
      out[threadIdx.x] = -1;
      Announce(3, kWarpgroup);
    } else {
      Meet(3, kWarpgroup);
      out[threadIdx.x] = out[threadIdx.x - 64] - 1;
    }
  }
}

TEST(Warpgroup, BarriersOrderThreadsInEveryOrder) {
  for (const ThreadOrder order : {ThreadOrder{ThreadOrder::kFirst}, ThreadOrder{ThreadOrder::kLast},
                                  ThreadOrder{ThreadOrder::kRandom, 3}, ThreadOrder{ThreadOrder::kRandom, 4}}) {
    simt::SetThreadOrder(order);
    constexpr int kRounds = 7;
    const Buffer<int> out(std::vector<int>(kRounds * kWarpgroup));
    ASSERT_EQ(Start(PassesNumbers, 1, 2 * kWarpgroup, kShared, out.data, kRounds), cudaSuccess);
    const std::vector<int> got = out.Values();
    for (int i = 0; i < kWarpgroup; ++i) EXPECT_EQ(got[i], i < 64 ? -1 : -2);
    for (int i = kWarpgroup; i < kRounds * kWarpgroup; ++i) ASSERT_EQ(got[i], 10 * (i / kWarpgroup));
  }
  simt::SetThreadOrder({});
}

enum class Mistake {
  kNone,
  kCopyNotShown,
  kRegistersNotOrdered,
  kFactorWrittenTooEarly,
  kSumsReadTooEarly,
  kSumsWrittenTooEarly,
  kNotWaitedFor,
  kOneWarpAlone,
  kOneWarpOtherwise,
  kBarrierNotBegun,
  kAnnouncedToNobody,
  kNeverArrives
};

__global__ void Errs(Mistake mistake, const uint16_t* source, float* out) {
  uint16_t* const tile = SwizzledShared<uint16_t>();  // [64][64]
  auto* const barrier = reinterpret_cast<SharedBarrier*>(tile + 64 * 64);
  for (int i = threadIdx.x; i < 64 * 8; i += kWarpgroup) CopyAsync<16>(tile + 8 * i, source + 8 * i);
  CopyAsyncCommit();
  CopyAsyncWait<0>();
  if (mistake != Mistake::kCopyNotShown) ShowToProducts();
  if (threadIdx.x == 0 && mistake != Mistake::kBarrierNotBegun) Init(barrier, kWarpgroup);
  __syncthreads();
  if (mistake != Mistake::kNeverArrives || threadIdx.x != 5) Arrive(barrier);
  Wait(barrier, 0);
  if (mistake == Mistake::kOneWarpAlone && threadIdx.x >= kWarp) return;
  float sums[8][4];
  if (mistake != Mistake::kRegistersNotOrdered) OrderRegisters();
  const uint64_t factor = SwizzledFactor(tile, 0, 1024);
  const bool otherwise = mistake == Mistake::kOneWarpOtherwise && threadIdx.x / kWarp == 2;
  Product(sums, factor, otherwise ? factor + 2 : factor, false);
  CommitProducts();
  if (mistake == Mistake::kSumsReadTooEarly) out[threadIdx.x] = sums[0][0];
  if (mistake == Mistake::kSumsWrittenTooEarly) sums[7][3] = 1;
  if (mistake == Mistake::kFactorWrittenTooEarly && threadIdx.x == 0) tile[9] = 1;
  if (mistake == Mistake::kNotWaitedFor) return;
  WaitForProducts<0>(sums);
  if (mistake == Mistake::kAnnouncedToNobody) Announce(1, 2 * kWarpgroup);
  if (mistake != Mistake::kSumsReadTooEarly) out[threadIdx.x] = sums[0][0];
}

void Err(Mistake mistake) {
  const Buffer<uint16_t> source(std::vector<uint16_t>(64 * 64, 0x3f80));  // ones
  const Buffer<float> out(std::vector<float>(kWarpgroup, 0));
  ASSERT_EQ(Start(Errs, 1, kWarpgroup, kShared, mistake, source.data, out.data), cudaSuccess);
  const bool right = mistake != Mistake::kSumsReadTooEarly;
  for (const float sum : out.Values()) EXPECT_EQ(right, sum == 16);
}

TEST(Warpgroup, SumsAreNaNUntilTheirProductsAreWaitedFor) {
  Err(Mistake::kNone);
  Err(Mistake::kSumsReadTooEarly);
}

TEST(WarpgroupDeathTest, FindsWhatAGpuDoesNotForgive) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(Err(Mistake::kCopyNotShown), "copied to a factor and has not shown it");
  EXPECT_DEATH(Err(Mistake::kRegistersNotOrdered), "OrderRegisters.. must stand between");
  EXPECT_DEATH(Err(Mistake::kFactorWrittenTooEarly), "written before the product that reads it");
  EXPECT_DEATH(Err(Mistake::kSumsWrittenTooEarly), "written while a product added");
  EXPECT_DEATH(Err(Mistake::kNotWaitedFor), "ended before its products were waited for");
  EXPECT_DEATH(Err(Mistake::kOneWarpAlone), "warp 1 issued 0 products, the first of its warpgroup 1");
  EXPECT_DEATH(Err(Mistake::kOneWarpOtherwise), "warp 2 issued other products");
  EXPECT_DEATH(Err(Mistake::kBarrierNotBegun), "nobody has initialised the barrier");
  EXPECT_DEATH(Err(Mistake::kAnnouncedToNobody), "barrier 1: the block ended when 128 of 256");
  EXPECT_DEATH(Err(Mistake::kNeverArrives), "never come.*\n.*waits in Wait");
}

}  // namespace
}  // namespace photon::cuda
