#include "tests/simt/emulator/collectives.h"

namespace photon::simt {

Vote TakeVote(unsigned mask, const char* operation, bool predicate, const std::source_location& where) {
  Vote vote = {predicate, 0, 0};
  WarpRendezvous(
      mask, operation, &vote,
      [](void* const(&lanes)[kWarpLanes]) {
        Vote sum = {};
        for (int i = 0; i < kWarpLanes; ++i) {
          if (lanes[i] == nullptr) continue;
          sum.lanes |= 1u << i;
          if (static_cast<const Vote*>(lanes[i])->predicate) sum.ballot |= 1u << i;
        }
        for (void* lane : lanes) {
          if (lane != nullptr) *static_cast<Vote*>(lane) = sum;
        }
      },
      where);
  return vote;
}

}  // namespace photon::simt
