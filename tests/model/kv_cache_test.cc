#include "model/kv_cache.h"

#include <gtest/gtest.h>

#include "core/ops/cached_attention.h"
#include "core/ops/elementwise.h"
#include "tests/support/tensors.h"

namespace photon::testing {
namespace {

constexpr int kHeads = 2;
constexpr int64_t kHeadDim = 18, kWidth = kHeads * kHeadDim;

class KvCacheContents : public ::testing::TestWithParam<DType> {
 protected:
  // What a row reads from the cache's first positions in its last layer.
  std::vector<double> Attention(const KvCache& cache, int64_t positions) {
    const int64_t base = reinterpret_cast<int64_t>(cache.block().raw()), capacity = cache.capacity();
    const ops::CacheTable table = {.bases = context_.get().FromHost(&base, {1}, DType::kI64),
                                   .capacities = context_.get().FromHost(&capacity, {1}, DType::kI64),
                                   .lengths = IntTensor(context_, {static_cast<int32_t>(positions - 1)}),
                                   .layer = 1,
                                   .rows = 1,
                                   .longest = positions};
    const ops::AttentionShape shape = {.heads = kHeads, .kv_heads = kHeads, .head_dim = kHeadDim, .first_key = {}};
    const Tensor q = RandomTensor(context_, {1, kWidth}, GetParam(), 2);
    const Tensor out = context_.get().Empty(q.shape(), GetParam());
    ops::CachedAttention(context_, q, table, shape, out);
    return ToDoubles(context_, out);
  }

  TestContext context_;
};
INSTANTIATE_TEST_SUITE_P(AllTypes, KvCacheContents, ::testing::Values(DType::kF64, DType::kF32, DType::kBF16),
                         [](const auto& info) { return std::string(Name(info.param)); });

// Rooms that are no whole number of slabs, and growth to whole ones: what was held stays what it was.
TEST_P(KvCacheContents, StayInGrowthAndCopies) {
  KvCache cache(context_, /*layers=*/2, kHeads, kHeadDim, GetParam(), /*capacity=*/70);
  cache.Append(70);
  ops::Cast(context_, RandomTensor(context_, cache.block().shape(), GetParam(), 1), cache.block());
  const std::vector<double> whole = Attention(cache, 70), part = Attention(cache, 65);
  EXPECT_NE(whole, part);

  KvCache copy = cache.Copy(65);
  EXPECT_EQ(copy.capacity(), 65);
  EXPECT_EQ(Attention(copy, 65), part);
  copy.Append(1);
  EXPECT_EQ(copy.capacity(), 128);
  EXPECT_EQ(Attention(copy, 65), part);

  cache.Append(1);
  EXPECT_EQ(cache.capacity(), 128);
  EXPECT_EQ(Attention(cache, 70), whole);
  EXPECT_EQ(Attention(cache.Copy(70), 70), whole);
}

}  // namespace
}  // namespace photon::testing
