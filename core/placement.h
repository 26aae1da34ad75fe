// How a parameter lies over the mesh: the plain description that initialisation, gradient reduction, optimizer
// sharding, checkpoints and resharding are all driven by.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <initializer_list>
#include <vector>

#include "core/shape.h"

namespace photon {

enum class MeshAxis : uint8_t { kDp = 0, kPp = 1, kCp = 2, kTp = 3 };
inline constexpr int kMeshAxes = 4;

// Some of the mesh's axes.
class AxisSet {
 public:
  constexpr AxisSet() = default;
  constexpr AxisSet(std::initializer_list<MeshAxis> axes) {
    for (const MeshAxis axis : axes) bits_ |= Bit(axis);
  }
  constexpr bool contains(MeshAxis axis) const { return (bits_ & Bit(axis)) != 0; }
  constexpr bool empty() const { return bits_ == 0; }
  constexpr bool contains(AxisSet other) const { return (other - *this).empty(); }
  constexpr AxisSet operator|(AxisSet other) const { return AxisSet(bits_ | other.bits_); }
  constexpr AxisSet operator-(AxisSet other) const { return AxisSet(bits_ & ~other.bits_); }
  friend constexpr auto operator<=>(AxisSet, AxisSet) = default;

 private:
  static constexpr uint8_t Bit(MeshAxis axis) { return uint8_t{1} << static_cast<int>(axis); }
  constexpr explicit AxisSet(int bits) : bits_(static_cast<uint8_t>(bits)) {}
  uint8_t bits_ = 0;
};

// Where one rank stands: its index along each axis, and the axes' sizes. Ranks count [dp][pp][cp][tp], tp fastest.
struct MeshCoordinates {
  std::array<int, kMeshAxes> index = {0, 0, 0, 0};
  std::array<int, kMeshAxes> size = {1, 1, 1, 1};
  int index_of(MeshAxis axis) const { return index[static_cast<int>(axis)]; }
  int size_of(MeshAxis axis) const { return size[static_cast<int>(axis)]; }
  // Those of `axes` that have more than one rank.
  AxisSet Proper(AxisSet axes) const;
  // Of the ranks that differ from this one along `axes` alone, in the order of the world: their number, and this one's
  // place among them.
  int group_size(AxisSet axes) const;
  int group_rank(AxisSet axes) const;
};

// The same on all ranks, but for the axes that split a dimension (evenly; the size must divide).
struct Placement {
  struct Split {
    int dim;
    MeshAxis axis;
    friend bool operator==(const Split&, const Split&) = default;
  };
  std::vector<Split> splits;
  // Axes along which ranks compute gradients of different tokens: the parameter's gradient is the sum over them. Along
  // the others every rank that holds the parameter (or its part) computes the whole sum itself.
  AxisSet summed = {MeshAxis::kDp, MeshAxis::kCp};
  // The pipeline stage that has it; -1: every one.
  int stage = -1;

  AxisSet split_axes() const;
  // Ranks that differ along these alone hold the same elements.
  AxisSet replicated_axes() const;
};

// A box inside a global tensor.
struct Region {
  std::vector<int64_t> offset;
  Shape shape;
};

// Elements [begin, end) of a tensor, counted row-major, as boxes: each contiguous, one after the other. A matrix gives
// three at most: the rest of a row, whole rows, the begin of a row. None where the range is empty.
std::vector<Region> Boxes(const Shape& shape, int64_t begin, int64_t end);

// The part of a tensor of `global` shape that the rank at `at` holds. CHECKs that split sizes divide.
Region LocalRegion(const Shape& global, const Placement& placement, const MeshCoordinates& at);

}  // namespace photon
