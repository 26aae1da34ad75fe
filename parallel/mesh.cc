#include "parallel/mesh.h"

#include "configs/layout.h"
#include "core/check.h"

namespace photon {
namespace {

constexpr MeshAxis kDp = MeshAxis::kDp, kPp = MeshAxis::kPp, kCp = MeshAxis::kCp, kTp = MeshAxis::kTp;
constexpr AxisSet kAll = {kDp, kPp, kCp, kTp};
// Those that gradients may be summed over, and those that Mesh::group() knows besides.
constexpr AxisSet kSummed[] = {{kDp, kCp}, {kDp, kCp, kTp}, {kDp, kPp, kCp}, kAll};
constexpr AxisSet kOthers[] = {{kDp}, {kPp}, {kCp}, {kTp}, {kCp, kTp}, {kPp, kTp}};

}  // namespace

absl::StatusOr<std::array<int, kMeshAxes>> MeshSizes(const ParallelConfig& config, int ranks) {
  PHOTON_ASSIGN_OR_RETURN(const LayoutSizes sizes, SizesOfLayout(config, ranks));
  return std::array<int, kMeshAxes>{sizes.dp, sizes.pp, sizes.cp, sizes.tp};
}

MeshCoordinates CoordinatesOf(int rank, const std::array<int, kMeshAxes>& sizes) {
  MeshCoordinates at;
  at.size = sizes;
  for (int axis = kMeshAxes - 1; axis >= 0; rank /= sizes[axis--]) at.index[axis] = rank % sizes[axis];
  return at;
}

absl::StatusOr<Mesh> Mesh::Create(Communicator& world, const ParallelConfig& config) {
  Mesh mesh;
  mesh.world_ = &world;
  PHOTON_ASSIGN_OR_RETURN(const auto sizes, MeshSizes(config, world.size()));
  mesh.at_ = CoordinatesOf(world.rank(), sizes);
  mesh.groups_[AxisSet()] = SelfCommunicator();
  // Every rank makes the same groups in the same order.
  const auto make = [&](AxisSet axes) -> absl::StatusOr<Communicator*> {
    std::unique_ptr<Communicator>& group = mesh.groups_[mesh.at_.Proper(axes)];
    if (group != nullptr) return group.get();
    // Its color is the rank of the member that is at 0 along all of its axes.
    int color = 0;
    for (int axis = 0; axis < kMeshAxes; ++axis) {
      const bool inside = axes.contains(static_cast<MeshAxis>(axis));
      color = color * sizes[axis] + (inside ? 0 : mesh.at_.index[axis]);
    }
    PHOTON_ASSIGN_OR_RETURN(group, world.Split(color, world.rank()));
    return group.get();
  };
  for (const AxisSet axes : kOthers) PHOTON_RETURN_IF_ERROR(make(axes).status());
  for (const AxisSet axes : kSummed) {
    PHOTON_ASSIGN_OR_RETURN(Communicator * group, make(axes));
    std::unique_ptr<Communicator>& twin = mesh.background_[mesh.at_.Proper(axes)];
    // Sums over a pipeline's stages wait for the end of the step.
    const bool over_stages = mesh.at_.Proper(axes).contains(kPp);
    if (!config.overlap_reduction() || over_stages || group->size() == 1 || twin != nullptr) continue;
    PHOTON_ASSIGN_OR_RETURN(twin, group->ForBackground());
  }
  return mesh;
}

Communicator& Mesh::group(AxisSet axes) const {
  const auto found = groups_.find(at_.Proper(axes));
  PHOTON_CHECK(found != groups_.end()) << "no group of these axes";
  return *found->second;
}

Communicator* Mesh::background(AxisSet axes) const {
  const auto found = background_.find(at_.Proper(axes));
  return found == background_.end() ? nullptr : found->second.get();
}

std::vector<Communicator*> Mesh::groups() const {
  std::vector<Communicator*> all;
  for (const auto* groups : {&groups_, &background_}) {
    for (const auto& [axes, group] : *groups) {
      if (group != nullptr && group->size() > 1) all.push_back(group.get());
    }
  }
  return all;
}

}  // namespace photon
