#include "core/placement.h"

#include "core/check.h"

namespace photon {

AxisSet MeshCoordinates::Proper(AxisSet axes) const {
  AxisSet proper;
  for (int axis = 0; axis < kMeshAxes; ++axis) {
    const auto a = static_cast<MeshAxis>(axis);
    if (axes.contains(a) && size[axis] > 1) proper = proper | AxisSet{a};
  }
  return proper;
}

int MeshCoordinates::group_size(AxisSet axes) const {
  int ranks = 1;
  for (int axis = 0; axis < kMeshAxes; ++axis) {
    if (axes.contains(static_cast<MeshAxis>(axis))) ranks *= size[axis];
  }
  return ranks;
}

int MeshCoordinates::group_rank(AxisSet axes) const {
  int rank = 0;
  for (int axis = 0; axis < kMeshAxes; ++axis) {
    if (axes.contains(static_cast<MeshAxis>(axis))) rank = rank * size[axis] + index[axis];
  }
  return rank;
}

AxisSet Placement::split_axes() const {
  AxisSet axes;
  for (const Split& split : splits) axes = axes | AxisSet{split.axis};
  return axes;
}

AxisSet Placement::replicated_axes() const {
  const AxisSet all = {MeshAxis::kDp, MeshAxis::kPp, MeshAxis::kCp, MeshAxis::kTp};
  return all - split_axes() - (stage >= 0 ? AxisSet{MeshAxis::kPp} : AxisSet());
}

namespace {

// The rows of dimension `dim` on, below the indices that `at` holds of the dimensions before.
void AddBoxes(const Shape& shape, int dim, int64_t begin, int64_t end, std::vector<int64_t>& at,
              std::vector<Region>& boxes) {
  int64_t row = 1;  // elements of one index of this dimension
  for (int d = dim + 1; d < shape.rank(); ++d) row *= shape[d];
  const auto add = [&](int64_t first, int64_t last) {
    Region box{at, shape};
    for (int d = 0; d < dim; ++d) box.shape[d] = 1;
    box.shape[dim] = last - first;
    box.offset[dim] = first;
    boxes.push_back(std::move(box));
  };
  const auto add_part = [&](int64_t index, int64_t from, int64_t to) {
    at[dim] = index;
    AddBoxes(shape, dim + 1, from, to, at, boxes);
    at[dim] = 0;
  };
  int64_t first = begin / row;
  const int64_t last = end / row;
  if (begin % row != 0) {
    const int64_t until = first == last ? end % row : row;
    add_part(first, begin % row, until);
    if (first == last) return;
    ++first;
  }
  if (last > first) add(first, last);
  if (end % row != 0) add_part(last, 0, end % row);
}

}  // namespace

std::vector<Region> Boxes(const Shape& shape, int64_t begin, int64_t end) {
  PHOTON_CHECK(begin >= 0 && begin <= end && end <= shape.elements())
      << "[" << begin << ", " << end << ") of a tensor " << shape.ToString();
  std::vector<Region> boxes;
  std::vector<int64_t> at(shape.rank(), 0);
  if (begin < end) AddBoxes(shape, 0, begin, end, at, boxes);
  return boxes;
}

Region LocalRegion(const Shape& global, const Placement& placement, const MeshCoordinates& at) {
  Region region{std::vector<int64_t>(global.rank(), 0), global};
  // A dimension split along several axes is cut by the first of them, each piece by the next, and so on.
  for (const Placement::Split& split : placement.splits) {
    PHOTON_CHECK(split.dim >= 0 && split.dim < global.rank())
        << "dimension " << split.dim << " of a tensor " << global.ToString();
    const int parts = at.size_of(split.axis);
    const int index = at.index_of(split.axis);
    PHOTON_CHECK(index >= 0 && index < parts) << "index " << index << " on an axis of " << parts;
    int64_t& size = region.shape[split.dim];
    PHOTON_CHECK_EQ(size % parts, 0) << "dimension " << split.dim << " of " << global.ToString() << " in " << parts;
    size /= parts;
    region.offset[split.dim] += index * size;
  }
  return region;
}

}  // namespace photon
