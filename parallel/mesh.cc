#include "parallel/mesh.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace photon {

absl::StatusOr<Mesh> Mesh::Create(Communicator& world, const ParallelConfig& config) {
  Mesh mesh;
  mesh.world_ = &world;
  // The other axes are 1 until the configuration knows them.
  mesh.at_.size = {config.has_dp() ? config.dp() : world.size(), 1, 1, 1};
  int64_t ranks = 1;
  for (int size : mesh.at_.size) {
    if (size < 1) return absl::InvalidArgumentError(absl::StrCat("parallel.dp = ", size, ": it must be at least 1"));
    ranks *= size;
  }
  if (ranks != world.size()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "parallel: dp * pp * cp * tp = ", absl::StrJoin(mesh.at_.size, " * "), " = ", ranks, ", but the job has ",
        world.size(), " rank(s): start ", ranks, ", or change parallel.dp (unset, it takes all ranks)"));
  }
  int rest = world.rank();
  for (int axis = kMeshAxes - 1; axis >= 0; --axis) {
    mesh.at_.index[axis] = rest % mesh.at_.size[axis];
    rest /= mesh.at_.size[axis];
  }
  int stride = 1;
  for (int axis = kMeshAxes - 1; axis >= 0; --axis) {
    // A group shares all coordinates but this one: its color is the rank of its member at 0.
    const int color = world.rank() - mesh.at_.index[axis] * stride;
    PHOTON_ASSIGN_OR_RETURN(mesh.axes_[axis], world.Split(color, mesh.at_.index[axis]));
    stride *= mesh.at_.size[axis];
  }
  if (config.overlap_reduction() && mesh.at_.size[static_cast<int>(MeshAxis::kDp)] > 1) {
    PHOTON_ASSIGN_OR_RETURN(mesh.gradients_, mesh.axis(MeshAxis::kDp).ForBackground());
  }
  return mesh;
}

}  // namespace photon
