#include "train/ownership.h"

#include <functional>
#include <numeric>

namespace photon {
namespace {

using Index = std::array<int, kMeshAxes>;

int RankOf(const Index& index, const Index& size) {
  int rank = 0;
  for (int axis = 0; axis < kMeshAxes; ++axis) rank = rank * size[axis] + index[axis];
  return rank;
}

Index IndexOf(int rank, const Index& size) {
  Index index;
  for (int axis = kMeshAxes - 1; axis >= 0; rank /= size[axis--]) index[axis] = rank % size[axis];
  return index;
}

// The first of the ranks that hold what `rank` holds.
int FirstHolder(int rank, const Placement& placement, const Index& size) {
  Index first = {0, 0, 0, 0};
  const Index index = IndexOf(rank, size);
  for (const Placement::Split& split : placement.splits) {
    first[static_cast<int>(split.axis)] = index[static_cast<int>(split.axis)];
  }
  return RankOf(first, size);
}

}  // namespace

std::vector<bool> OwnedParts(absl::Span<const PlacedPart> parts, const MeshCoordinates& at) {
  const int ranks = std::accumulate(at.size.begin(), at.size.end(), 1, std::multiplies<int>());
  const int me = RankOf(at.index, at.size);
  std::vector<int64_t> load(ranks, 0);
  std::vector<bool> owned;
  for (const PlacedPart& part : parts) {
    std::vector<int> owners(ranks, -1);  // by first holder
    for (int rank = 0; rank < ranks; ++rank) {
      int& owner = owners[FirstHolder(rank, *part.placement, at.size)];
      if (owner < 0 || load[rank] < load[owner]) owner = rank;
    }
    for (const int owner : owners) {
      if (owner >= 0) load[owner] += part.elements;
    }
    owned.push_back(owners[FirstHolder(me, *part.placement, at.size)] == me);
  }
  return owned;
}

}  // namespace photon
