#include "core/placement.h"

#include <gtest/gtest.h>

#include <numeric>
#include <vector>

namespace photon {
namespace {

MeshCoordinates At(std::array<int, kMeshAxes> index, std::array<int, kMeshAxes> size) { return {index, size}; }

TEST(LocalRegionTest, ReplicatedIsTheWhole) {
  const Region region = LocalRegion({6, 5}, {}, At({1, 0, 0, 2}, {2, 1, 1, 3}));
  EXPECT_EQ(region.shape, Shape({6, 5}));
  EXPECT_EQ(region.offset, (std::vector<int64_t>{0, 0}));
}

TEST(LocalRegionTest, OneSplit) {
  const Region region = LocalRegion({6, 5}, {{{0, MeshAxis::kTp}}}, At({0, 0, 0, 2}, {1, 1, 1, 3}));
  EXPECT_EQ(region.shape, Shape({2, 5}));
  EXPECT_EQ(region.offset, (std::vector<int64_t>{4, 0}));
}

// Every element belongs to exactly one of the ranks that differ along split axes, whatever the splits.
TEST(LocalRegionTest, RegionsCoverOnce) {
  const std::array<int, kMeshAxes> size = {2, 1, 3, 2};
  const Shape global = {12, 5, 6};
  const std::vector<Placement> placements = {
      {{{0, MeshAxis::kDp}}},
      {{{0, MeshAxis::kDp}, {2, MeshAxis::kTp}}},
      {{{0, MeshAxis::kCp}, {0, MeshAxis::kTp}}},
      {{{2, MeshAxis::kTp}, {0, MeshAxis::kCp}, {0, MeshAxis::kDp}}},
  };
  for (const Placement& placement : placements) {
    std::vector<int> seen(global.elements(), 0);
    int copies = size[0] * size[1] * size[2] * size[3];
    for (const Placement::Split& split : placement.splits) copies /= size[static_cast<int>(split.axis)];
    for (int dp = 0; dp < size[0]; ++dp) {
      for (int cp = 0; cp < size[2]; ++cp) {
        for (int tp = 0; tp < size[3]; ++tp) {
          const Region region = LocalRegion(global, placement, At({dp, 0, cp, tp}, size));
          for (int64_t i = 0; i < region.shape.elements(); ++i) {
            const int64_t x = i / (region.shape[1] * region.shape[2]), y = i / region.shape[2] % region.shape[1],
                          z = i % region.shape[2];
            ++seen[((region.offset[0] + x) * global[1] + region.offset[1] + y) * global[2] + region.offset[2] + z];
          }
        }
      }
    }
    EXPECT_EQ(seen, std::vector<int>(global.elements(), copies));
  }
}

// In order, one after the other, and of whole rows where there are some.
TEST(LocalRegionTest, BoxesOfARangeAreItsElementsInOrder) {
  for (const Shape& shape : {Shape{7}, Shape{3, 5}, Shape{1, 4}, Shape{2, 3, 4}, Shape{2, 1, 3, 2}}) {
    for (int64_t begin = 0; begin <= shape.elements(); ++begin) {
      for (int64_t end = begin; end <= shape.elements(); ++end) {
        std::vector<int64_t> visited;
        const std::vector<Region> boxes = Boxes(shape, begin, end);
        for (const Region& box : boxes) {
          for (int64_t i = 0; i < box.shape.elements(); ++i) {
            int64_t rest = i, flat = 0, stride = 1;
            for (int d = shape.rank() - 1; d >= 0; --d) {
              const int64_t at = box.offset[d] + rest % box.shape[d];
              ASSERT_LT(at, shape[d]);
              flat += at * stride;
              rest /= box.shape[d];
              stride *= shape[d];
            }
            visited.push_back(flat);
          }
        }
        std::vector<int64_t> want(end - begin);
        std::iota(want.begin(), want.end(), begin);
        ASSERT_EQ(visited, want) << shape.ToString() << " [" << begin << ", " << end << ")";
        ASSERT_LE(boxes.size(), 2 * static_cast<size_t>(shape.rank()) - 1);
      }
    }
  }
  EXPECT_EQ(Boxes({4, 3}, 3, 9).size(), 1u);
  EXPECT_EQ(Boxes({4, 3}, 1, 11).size(), 3u);
}

TEST(LocalRegionTest, PlacesInGroupsCountAsInTheWorld) {
  const MeshCoordinates at = {.index = {1, 0, 2, 1}, .size = {2, 1, 3, 2}};
  EXPECT_EQ(at.group_size({MeshAxis::kDp, MeshAxis::kTp}), 4);
  EXPECT_EQ(at.group_rank({MeshAxis::kDp, MeshAxis::kTp}), 3);
  EXPECT_EQ(at.group_rank({MeshAxis::kCp, MeshAxis::kTp}), 5);
  EXPECT_EQ(at.group_size({}), 1);
  EXPECT_EQ(at.group_rank({}), 0);
  EXPECT_EQ(at.Proper({MeshAxis::kDp, MeshAxis::kPp}), AxisSet{MeshAxis::kDp});
}

TEST(LocalRegionDeathTest, SizesMustDivide) {
  EXPECT_EXIT(LocalRegion({5}, {{{0, MeshAxis::kTp}}}, At({0, 0, 0, 0}, {1, 1, 1, 2})), ::testing::ExitedWithCode(1),
              "in 2");
  EXPECT_EXIT(LocalRegion({4}, {{{1, MeshAxis::kTp}}}, At({0, 0, 0, 0}, {1, 1, 1, 2})), ::testing::ExitedWithCode(1),
              "dimension 1");
}

}  // namespace
}  // namespace photon
