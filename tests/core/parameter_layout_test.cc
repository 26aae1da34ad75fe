// Where parameters lie: classes together, buckets of whole groups, and of each bucket an equal shard a rank.
#include "core/parameter_layout.h"

#include <gtest/gtest.h>

#include <set>

namespace photon {
namespace {

constexpr AxisSet kDp = {MeshAxis::kDp}, kTp = {MeshAxis::kTp}, kDpTp = {MeshAxis::kDp, MeshAxis::kTp};

MeshCoordinates At(int dp, int tp) { return {.index = {dp, 0, 0, tp}, .size = {3, 1, 1, 2}}; }

TEST(LayOut, OneClassIsInTheOrderOfAdding) {
  const FlatLayout layout = LayOut({{100}, {64}, {1}, {65}}, {}, false, 1 << 20);
  EXPECT_EQ(layout.group_begin, (std::vector<int64_t>{0, 128, 192, 256}));
  EXPECT_EQ(layout.elements, 384);
  ASSERT_EQ(layout.classes.size(), 1u);
  EXPECT_EQ(layout.classes[0].end, 384);
  ASSERT_EQ(layout.buckets.size(), 1u);
  EXPECT_EQ(layout.buckets[0].groups, (std::vector<int>{0, 1, 2, 3}));
  EXPECT_EQ(layout.buckets[0].own_end, 384);
  EXPECT_EQ(layout.shard_elements, 384);
  EXPECT_EQ(layout.copied_begin, 384);
}

TEST(LayOut, ClassesLieTogetherInTheOrderOfTheirKeys) {
  const std::vector<FlatGroup> groups = {
      {.elements = 10, .split = kTp, .summed = kDp},   {.elements = 20, .summed = kDpTp},
      {.elements = 30, .split = kTp, .summed = kDp},   {.elements = 40, .summed = kDp},
      {.elements = 50, .summed = kDp, .staged = true}, {.elements = 60, .summed = kDpTp}};
  const FlatLayout layout = LayOut(groups, At(0, 0), false, 1 << 20);
  ASSERT_EQ(layout.classes.size(), 4u);
  EXPECT_EQ(layout.group_begin, (std::vector<int64_t>{192, 64, 256, 0, 320, 128}));
  EXPECT_EQ(layout.classes[0].summed, kDp);
  EXPECT_EQ(layout.classes[1].summed, kDpTp);
  EXPECT_EQ(layout.classes[2].split, kTp);
  EXPECT_TRUE(layout.classes[3].staged);
  for (size_t c = 0; c < 4; ++c) {
    EXPECT_EQ(layout.classes[c].begin, c == 0 ? 0 : layout.classes[c - 1].end);
    EXPECT_EQ(layout.buckets[c].in_class, c) << "no bucket is of two classes";
  }
  // A rank that has but some of the classes has them in the same order.
  const FlatLayout fewer = LayOut({groups[4], groups[0], groups[5]}, At(0, 0), false, 1 << 20);
  EXPECT_EQ(fewer.group_begin, (std::vector<int64_t>{128, 64, 0}));
}

TEST(LayOut, BucketsTakeWholeGroupsUntilFull) {
  const FlatLayout layout = LayOut({{100}, {20}, {300}, {10}}, {}, false, 150);
  ASSERT_EQ(layout.buckets.size(), 3u);
  EXPECT_EQ(layout.buckets[0].groups, (std::vector<int>{0, 1}));
  EXPECT_EQ(layout.buckets[1].groups, (std::vector<int>{2})) << "full with one";
  EXPECT_EQ(layout.buckets[1].begin, layout.buckets[0].end);
  EXPECT_EQ(LayOut({{100}, {20}, {300}, {10}}, {}, false, 0).buckets.size(), 4u);
}

// Over the ranks of its group, shards make up each bucket without gap or overlap, and all are of one size.
TEST(LayOut, ShardsMakeUpEachBucket) {
  const std::vector<FlatGroup> groups = {{.elements = 1000, .summed = kDp, .copied = true},
                                         {.elements = 1, .summed = kDpTp},
                                         {.elements = 70, .split = kTp, .summed = kDp},
                                         {.elements = 500, .summed = kDp, .copied = true},
                                         {.elements = 300, .summed = kDpTp}};
  for (const int64_t bucket_elements : {1, 400, 1 << 20}) {
    std::vector<FlatLayout> ranks;
    for (int dp = 0; dp < 3; ++dp) {
      for (int tp = 0; tp < 2; ++tp) ranks.push_back(LayOut(groups, At(dp, tp), true, bucket_elements));
    }
    const FlatLayout& first = ranks[0];
    for (size_t b = 0; b < first.buckets.size(); ++b) {
      const FlatBucket& bucket = first.buckets[b];
      const FlatClass& in = first.classes[bucket.in_class];
      std::set<int64_t> begins;
      for (const FlatLayout& rank : ranks) {
        const FlatBucket& other = rank.buckets[b];
        EXPECT_EQ(other.begin, bucket.begin);
        EXPECT_EQ(other.end, bucket.end);
        EXPECT_EQ(other.own_end - other.own_begin, (bucket.end - bucket.begin) / (in.summed == kDp ? 3 : 6));
        EXPECT_EQ(other.own_begin % kGroupAlignment, 0);
        begins.insert(other.own_begin);
        EXPECT_EQ(other.shard_begin, b == 0 ? 0 : rank.buckets[b - 1].shard_end());
      }
      EXPECT_EQ(begins.size(), in.summed == kDp ? 3u : 6u);
      EXPECT_EQ(*begins.begin(), bucket.begin);
      EXPECT_EQ(bucket.begin, b == 0 ? 0 : first.buckets[b - 1].end);
    }
    EXPECT_EQ(first.buckets.back().end, first.elements);
    EXPECT_EQ(first.buckets.back().shard_end(), first.shard_elements);
    // Copied ones behind all others.
    for (const int g : {1, 2, 4}) EXPECT_LT(first.group_begin[g], first.copied_begin);
    for (const int g : {0, 3}) EXPECT_GE(first.group_begin[g], first.copied_begin);
    EXPECT_EQ(first.classes.back().begin, first.copied_begin);
  }
}

TEST(LayOut, OfNothing) {
  const FlatLayout layout = LayOut({}, {}, true, 1);
  EXPECT_EQ(layout.elements, 0);
  EXPECT_TRUE(layout.buckets.empty());
}

}  // namespace
}  // namespace photon
