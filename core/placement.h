// How a parameter lies over the mesh: the plain description that initialisation, gradient reduction, optimizer
// sharding, checkpoints and resharding are all driven by.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "core/shape.h"

namespace photon {

enum class MeshAxis : uint8_t { kDp = 0, kPp = 1, kCp = 2, kTp = 3 };
inline constexpr int kMeshAxes = 4;

// Where one rank stands: its index along each axis, and the axes' sizes. Ranks count [dp][pp][cp][tp], tp fastest.
struct MeshCoordinates {
  std::array<int, kMeshAxes> index = {0, 0, 0, 0};
  std::array<int, kMeshAxes> size = {1, 1, 1, 1};
  int index_of(MeshAxis axis) const { return index[static_cast<int>(axis)]; }
  int size_of(MeshAxis axis) const { return size[static_cast<int>(axis)]; }
};

// Replicated along every axis, but for those that split a dimension (evenly; the size must divide).
struct Placement {
  struct Split {
    int dim;
    MeshAxis axis;
  };
  std::vector<Split> splits;
};

// A box inside a global tensor.
struct Region {
  std::vector<int64_t> offset;
  Shape shape;
};

// The part of a tensor of `global` shape that the rank at `at` holds. CHECKs that split sizes divide.
Region LocalRegion(const Shape& global, const Placement& placement, const MeshCoordinates& at);

}  // namespace photon
