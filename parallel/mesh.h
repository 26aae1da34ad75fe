// The mesh of ranks, [dp][pp][cp][tp] with tp fastest, and a communicator for each set of axes that work together.
#pragma once

#include <array>
#include <map>
#include <memory>
#include <vector>

#include "configs/parallel.pb.h"
#include "core/placement.h"
#include "parallel/communicator.h"

namespace photon {

class Mesh {
 public:
  // Splits `world`, which must outlive the mesh. kInvalidArgument where the sizes do not multiply to the world's.
  static absl::StatusOr<Mesh> Create(Communicator& world, const ParallelConfig& config);

  Communicator& world() const { return *world_; }
  // The ranks that differ from this one along `axes` alone, ordered as in the world. One of: an axis; what gradients
  // are summed over (dp and cp, with pp or tp or both); cp with tp; pp with tp; all. Axes of size 1 are of no account.
  Communicator& group(AxisSet axes) const;
  Communicator& axis(MeshAxis axis) const { return group({axis}); }
  // The group once more, for a thread that reduces gradients while others are computed; null where the config does not
  // ask for it, the group has one rank, or is over several pipeline stages.
  Communicator* background(AxisSet axes) const;
  // Every group of more than one rank: for a watchdog.
  std::vector<Communicator*> groups() const;
  const MeshCoordinates& at() const { return at_; }

 private:
  Communicator* world_ = nullptr;
  MeshCoordinates at_;
  std::map<AxisSet, std::unique_ptr<Communicator>> groups_;
  std::map<AxisSet, std::unique_ptr<Communicator>> background_;
};

// The sizes of the axes for that many ranks: SizesOfLayout (configs/layout.h).
absl::StatusOr<std::array<int, kMeshAxes>> MeshSizes(const ParallelConfig& config, int ranks);

// Where rank number `rank` of a mesh of these sizes stands.
MeshCoordinates CoordinatesOf(int rank, const std::array<int, kMeshAxes>& sizes);

}  // namespace photon
