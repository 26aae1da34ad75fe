#include "core/placement.h"

#include <gtest/gtest.h>

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

TEST(LocalRegionDeathTest, SizesMustDivide) {
  EXPECT_EXIT(LocalRegion({5}, {{{0, MeshAxis::kTp}}}, At({0, 0, 0, 0}, {1, 1, 1, 2})), ::testing::ExitedWithCode(1),
              "in 2");
  EXPECT_EXIT(LocalRegion({4}, {{{1, MeshAxis::kTp}}}, At({0, 0, 0, 0}, {1, 1, 1, 2})), ::testing::ExitedWithCode(1),
              "dimension 1");
}

}  // namespace
}  // namespace photon
