// Which thread of a block of cached attention holds what. A block has a sequence's Keys consecutive positions of one
// key/value head in registers; each warp a share of consecutive keys, in passes, `Lanes` neighbouring threads a key.
#pragma once

#include <cstdint>

#include "core/host_device.h"

namespace photon::cuda {

// Elements: neighbours that a thread moves at once; Chunks: such vectors of a key that it holds, Lanes * Elements
// apart; Passes: keys that it holds.
template <int ElementsA, int ChunksA, int LanesA, int PassesA>
struct CachedMap {
  static constexpr int kElements = ElementsA, kChunks = ChunksA, kLanes = LanesA, kPasses = PassesA;
  static constexpr int kSlots = 32 / kLanes;                   // keys side by side in a warp
  static constexpr int kWarpKeys = kSlots * kPasses;           // keys of a warp
  static constexpr int kWarps = 4;                             // of a whole block
  static constexpr int kKeys = kWarps * kWarpKeys;             // keys of a block: what sums are cut into
  static constexpr int kWidth = kElements * kChunks * kLanes;  // head_dim at most

  PHOTON_HOST_DEVICE static constexpr int Key(int warp, int lane, int pass) {
    return warp * kWarpKeys + pass * kSlots + lane / kLanes;
  }
  PHOTON_HOST_DEVICE static constexpr int Column(int lane, int chunk) {
    return (chunk * kLanes + lane % kLanes) * kElements;
  }
};

}  // namespace photon::cuda
