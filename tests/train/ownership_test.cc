// Every part of every parameter is owned once, whatever the mesh and the placement, and the work is shared.
#include "train/ownership.h"

#include <gtest/gtest.h>

#include <map>
#include <string>
#include <utility>

namespace photon {
namespace {

constexpr AxisSet kAll = {MeshAxis::kDp, MeshAxis::kPp, MeshAxis::kCp, MeshAxis::kTp};

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
      std::vector<HeldPart> parts;
      for (const Sample& s : samples) {
        parts.push_back({s.placement.replicated_axes(), LocalRegion(s.shape, s.placement, at).shape.elements()});
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

// Each stage lists its own parameters only, the last one none of its own.
TEST(OwnedParts, StagesNeedNotKnowEachOthers) {
  const Placement everywhere, split = {.splits = {{0, MeshAxis::kTp}}}, first = {.stage = 0},
                              second = {.splits = {{0, MeshAxis::kTp}}, .stage = 1};
  std::map<std::string, int> owners;
  for (const MeshCoordinates& at : Ranks({2, 3, 1, 2})) {
    const int stage = at.index_of(MeshAxis::kPp), tp = at.index_of(MeshAxis::kTp);
    std::vector<std::pair<std::string, HeldPart>> held = {{"everywhere", {everywhere.replicated_axes(), 50}}};
    if (stage == 0) held.push_back({"first", {first.replicated_axes(), 7}});
    held.push_back({"split" + std::to_string(tp), {split.replicated_axes(), 20}});
    if (stage == 1) held.push_back({"second" + std::to_string(tp), {second.replicated_axes(), 9}});
    std::vector<HeldPart> parts;
    for (const auto& [name, part] : held) parts.push_back(part);
    const std::vector<bool> owned = OwnedParts(parts, at);
    for (size_t i = 0; i < held.size(); ++i) owners[held[i].first] += owned[i];
  }
  EXPECT_EQ(owners.size(), 6u);
  for (const auto& [name, count] : owners) EXPECT_EQ(count, 1) << name;
}

TEST(OwnedParts, EqualPartsAreSharedEqually) {
  const std::vector<HeldPart> parts(24, {kAll, 10});
  for (const MeshCoordinates& at : Ranks({2, 1, 2, 3})) {
    int owned = 0;
    for (const bool mine : OwnedParts(parts, at)) owned += mine;
    EXPECT_EQ(owned, 2);
  }
}

TEST(OwnedParts, TheNextGoesToTheLeastLoaded) {
  const std::vector<HeldPart> parts = {{kAll, 5}, {kAll, 2}, {kAll, 2}, {kAll, 2}};
  EXPECT_EQ(OwnedParts(parts, {{0, 0, 0, 0}, {2, 1, 1, 1}}), (std::vector<bool>{true, false, false, false}));
  EXPECT_EQ(OwnedParts(parts, {{1, 0, 0, 0}, {2, 1, 1, 1}}), (std::vector<bool>{false, true, true, true}));
}

}  // namespace
}  // namespace photon
