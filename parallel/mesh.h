// The mesh of ranks, [dp][pp][cp][tp] with tp fastest, and a communicator for each axis.
#pragma once

#include <array>
#include <memory>

#include "configs/parallel.pb.h"
#include "core/placement.h"
#include "parallel/communicator.h"

namespace photon {

class Mesh {
 public:
  // Splits `world`, which must outlive the mesh. kInvalidArgument where the sizes do not multiply to the world's.
  static absl::StatusOr<Mesh> Create(Communicator& world, const ParallelConfig& config);

  Communicator& world() const { return *world_; }
  Communicator& axis(MeshAxis axis) const { return *axes_[static_cast<int>(axis)]; }
  // The data-parallel ranks once more, for a thread that reduces gradients while others are computed; null where the
  // config does not ask for it.
  Communicator* gradients() const { return gradients_.get(); }
  const MeshCoordinates& at() const { return at_; }

 private:
  Communicator* world_ = nullptr;
  MeshCoordinates at_;
  std::array<std::unique_ptr<Communicator>, kMeshAxes> axes_;
  std::unique_ptr<Communicator> gradients_;
};

}  // namespace photon
