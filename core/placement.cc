#include "core/placement.h"

#include "core/check.h"

namespace photon {

AxisSet Placement::split_axes() const {
  AxisSet axes;
  for (const Split& split : splits) axes = axes | AxisSet{split.axis};
  return axes;
}

AxisSet Placement::replicated_axes() const {
  const AxisSet all = {MeshAxis::kDp, MeshAxis::kPp, MeshAxis::kCp, MeshAxis::kTp};
  return all - split_axes() - (stage >= 0 ? AxisSet{MeshAxis::kPp} : AxisSet());
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
