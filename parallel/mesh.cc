#include "parallel/mesh.h"

#include <numeric>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
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
  std::array<int, kMeshAxes> sizes = {config.dp(), config.pp(), config.cp(), config.tp()};
  static constexpr const char* kNames[] = {"dp", "pp", "cp", "tp"};
  int64_t others = 1;
  for (int axis = 0; axis < kMeshAxes; ++axis) {
    if (axis == 0 && !config.has_dp()) continue;
    if (sizes[axis] < 1) {
      return absl::InvalidArgumentError(
          absl::StrCat("parallel.", kNames[axis], " = ", sizes[axis], ": it must be at least 1"));
    }
    if (axis > 0) others *= sizes[axis];
  }
  if (!config.has_dp() && ranks % others == 0) sizes[0] = static_cast<int>(ranks / others);
  const int64_t product = sizes[0] * others;
  if (config.has_dp() || ranks % others == 0) {
    if (product == ranks) return sizes;
    std::string remedy = absl::StrCat("start ", product);
    if (ranks % others == 0) absl::StrAppend(&remedy, ", or set parallel.dp = ", ranks / others);
    return absl::InvalidArgumentError(absl::StrCat("parallel: dp * pp * cp * tp = ", absl::StrJoin(sizes, " * "), " = ",
                                                   product, ", but the job has ", ranks, " rank(s): ", remedy,
                                                   " (unset, dp takes what the others leave)"));
  }
  const int64_t below = ranks / others * others;
  return absl::InvalidArgumentError(absl::StrCat(
      "parallel: pp * cp * tp = ", sizes[1], " * ", sizes[2], " * ", sizes[3], " = ", others, " does not divide the ",
      ranks, " rank(s) of the job: start ", below > 0 ? absl::StrCat(below, " or ") : "", below + others,
      ", or make pp, cp or tp smaller"));
}

MeshCoordinates CoordinatesOf(int rank, const std::array<int, kMeshAxes>& sizes) {
  MeshCoordinates at;
  at.size = sizes;
  for (int axis = kMeshAxes - 1; axis >= 0; rank /= sizes[axis--]) at.index[axis] = rank % sizes[axis];
  return at;
}

AxisSet Mesh::Proper(AxisSet axes) const {
  AxisSet proper;
  for (int axis = 0; axis < kMeshAxes; ++axis) {
    const auto a = static_cast<MeshAxis>(axis);
    if (axes.contains(a) && at_.size_of(a) > 1) proper = proper | AxisSet{a};
  }
  return proper;
}

absl::StatusOr<Mesh> Mesh::Create(Communicator& world, const ParallelConfig& config) {
  Mesh mesh;
  mesh.world_ = &world;
  PHOTON_ASSIGN_OR_RETURN(const auto sizes, MeshSizes(config, world.size()));
  mesh.at_ = CoordinatesOf(world.rank(), sizes);
  mesh.groups_[AxisSet()] = SelfCommunicator();
  // Every rank makes the same groups in the same order.
  const auto make = [&](AxisSet axes) -> absl::StatusOr<Communicator*> {
    std::unique_ptr<Communicator>& group = mesh.groups_[mesh.Proper(axes)];
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
    std::unique_ptr<Communicator>& twin = mesh.background_[mesh.Proper(axes)];
    if (!config.overlap_reduction() || group->size() == 1 || twin != nullptr) continue;
    PHOTON_ASSIGN_OR_RETURN(twin, group->ForBackground());
  }
  return mesh;
}

Communicator& Mesh::group(AxisSet axes) const {
  const auto found = groups_.find(Proper(axes));
  PHOTON_CHECK(found != groups_.end()) << "no group of these axes";
  return *found->second;
}

Communicator* Mesh::background(AxisSet axes) const {
  const auto found = background_.find(Proper(axes));
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
