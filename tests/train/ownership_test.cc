// Every part of every parameter is owned once, whatever the mesh and the placement, and the work is shared.
#include "train/ownership.h"

#include <gtest/gtest.h>

#include <map>

namespace photon {
namespace {

// All ranks of a mesh of these sizes, in their order.
std::vector<MeshCoordinates> Ranks(const std::array<int, kMeshAxes>& size) {
  std::vector<MeshCoordinates> ranks;
  for (int d = 0; d < size[0]; ++d) {
    for (int p = 0; p < size[1]; ++p) {
      for (int c = 0; c < size[2]; ++c) {
        for (int t = 0; t < size[3]; ++t) ranks.push_back({{d, p, c, t}, size});
      }
    }
  }
  return ranks;
}

struct Sample {
  Shape shape;
  Placement placement;
};

TEST(OwnedParts, EveryRegionHasOneOwnerOnAnyMesh) {
  const std::vector<Sample> samples = {{{12, 24}, {}},
                                       {{24, 12}, {{{0, MeshAxis::kTp}}}},
                                       {{12, 48}, {{{1, MeshAxis::kTp}}}},
                                       {{36}, {{{0, MeshAxis::kDp}}}},
                                       {{24, 12}, {{{0, MeshAxis::kTp}, {1, MeshAxis::kPp}}}},
                                       {{7}, {}}};
  for (const std::array<int, kMeshAxes>& size : std::vector<std::array<int, kMeshAxes>>{
           {1, 1, 1, 1}, {3, 1, 1, 1}, {1, 1, 1, 4}, {2, 3, 1, 2}, {2, 1, 3, 2}, {3, 2, 2, 2}}) {
    std::vector<std::map<std::vector<int64_t>, int>> owners(samples.size());
    for (const MeshCoordinates& at : Ranks(size)) {
      std::vector<PlacedPart> parts;
      for (const Sample& s : samples) {
        parts.push_back({&s.placement, LocalRegion(s.shape, s.placement, at).shape.elements()});
      }
      const std::vector<bool> owned = OwnedParts(parts, at);
      ASSERT_EQ(owned.size(), samples.size());
      for (size_t i = 0; i < samples.size(); ++i) {
        owners[i][LocalRegion(samples[i].shape, samples[i].placement, at).offset] += owned[i];
      }
    }
    for (size_t i = 0; i < samples.size(); ++i) {
      for (const auto& [offset, count] : owners[i]) {
        EXPECT_EQ(count, 1) << "parameter " << i << " at " << offset[0] << " on mesh "
                            << ::testing::PrintToString(size);
      }
    }
  }
}

TEST(OwnedParts, EqualPartsAreSharedEqually) {
  const Placement replicated;
  const std::vector<PlacedPart> parts(24, {&replicated, 10});
  for (const MeshCoordinates& at : Ranks({2, 1, 2, 3})) {
    int owned = 0;
    for (const bool mine : OwnedParts(parts, at)) owned += mine;
    EXPECT_EQ(owned, 2);
  }
}

TEST(OwnedParts, TheNextGoesToTheLeastLoaded) {
  const Placement replicated;
  const std::vector<PlacedPart> parts = {{&replicated, 5}, {&replicated, 2}, {&replicated, 2}, {&replicated, 2}};
  EXPECT_EQ(OwnedParts(parts, {{0, 0, 0, 0}, {2, 1, 1, 1}}), (std::vector<bool>{true, false, false, false}));
  EXPECT_EQ(OwnedParts(parts, {{1, 0, 0, 0}, {2, 1, 1, 1}}), (std::vector<bool>{false, true, true, true}));
}

}  // namespace
}  // namespace photon
