// CUDA's barriers, and the functions by which the lanes of a warp exchange values.
#pragma once

#include <cstring>
#include <source_location>
#include <type_traits>

#include "tests/simt/emulator/block.h"

namespace photon::simt {

// A value from another lane. Of a lane that takes no part comes a NaN of 0xff bytes.
template <typename T>
struct Shuffled {
  T value, result;
  int source;

  static void Combine(void* const (&lanes)[kWarpLanes]) {
    for (void* lane : lanes) {
      if (lane == nullptr) continue;
      auto* mine = static_cast<Shuffled*>(lane);
      const auto* from = static_cast<const Shuffled*>(lanes[mine->source]);
      if (from != nullptr) {
        mine->result = from->value;
      } else {
        std::memset(&mine->result, 0xff, sizeof(T));
      }
    }
  }
};

// `source(lane, first, last)`: the lane to read of the segment [first, last] that this lane is in; past it: its own.
template <typename T, typename Source>
T Shuffle(unsigned mask, const char* operation, T value, int width, Source&& source,
          const std::source_location& where) {
  static_assert(std::is_arithmetic_v<T> && (sizeof(T) == 4 || sizeof(T) == 8), "CUDA shuffles 32 and 64 bit values");
  const int lane = ThreadInBlock() % kWarpLanes, first = lane / width * width;
  int from = source(lane, first, first + width - 1);
  if (from < 0) from = lane;
  Shuffled<T> operand = {value, T(), from};
  WarpRendezvous(mask, operation, &operand, Shuffled<T>::Combine, where);
  return operand.result;
}

struct Vote {
  bool predicate;
  unsigned ballot, lanes;
};
Vote TakeVote(unsigned mask, const char* operation, bool predicate, const std::source_location& where);

}  // namespace photon::simt

#define PHOTON_SIMT_HERE const std::source_location& where = std::source_location::current()

template <typename T>
T __shfl_sync(unsigned mask, T value, int source, int width = 32, PHOTON_SIMT_HERE) {
  return photon::simt::Shuffle(
      mask, "__shfl_sync", value, width, [&](int, int first, int) { return first + (source & (width - 1)); }, where);
}
template <typename T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32, PHOTON_SIMT_HERE) {
  const auto source = [&](int lane, int first, int) {
    const int from = lane - static_cast<int>(delta);
    return from < first ? -1 : from;
  };
  return photon::simt::Shuffle(mask, "__shfl_up_sync", value, width, source, where);
}
template <typename T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32, PHOTON_SIMT_HERE) {
  const auto source = [&](int lane, int, int last) {
    const int from = lane + static_cast<int>(delta);
    return from > last ? -1 : from;
  };
  return photon::simt::Shuffle(mask, "__shfl_down_sync", value, width, source, where);
}
template <typename T>
T __shfl_xor_sync(unsigned mask, T value, int lanes, int width = 32, PHOTON_SIMT_HERE) {
  const auto source = [&](int lane, int, int last) {
    const int from = lane ^ lanes;
    return from > last ? -1 : from;
  };
  return photon::simt::Shuffle(mask, "__shfl_xor_sync", value, width, source, where);
}

inline unsigned __ballot_sync(unsigned mask, int predicate, PHOTON_SIMT_HERE) {
  return photon::simt::TakeVote(mask, "__ballot_sync", predicate != 0, where).ballot;
}
inline int __any_sync(unsigned mask, int predicate, PHOTON_SIMT_HERE) {
  return photon::simt::TakeVote(mask, "__any_sync", predicate != 0, where).ballot != 0;
}
inline int __all_sync(unsigned mask, int predicate, PHOTON_SIMT_HERE) {
  const photon::simt::Vote vote = photon::simt::TakeVote(mask, "__all_sync", predicate != 0, where);
  return vote.ballot == vote.lanes;
}
inline void __syncwarp(unsigned mask = 0xffffffffu, PHOTON_SIMT_HERE) {
  photon::simt::TakeVote(mask, "__syncwarp", false, where);
}

inline void __syncthreads(PHOTON_SIMT_HERE) { photon::simt::BlockBarrier(false, where); }
inline int __syncthreads_count(int predicate, PHOTON_SIMT_HERE) {
  return photon::simt::BlockBarrier(predicate != 0, where).predicate;
}
inline int __syncthreads_or(int predicate, PHOTON_SIMT_HERE) {
  return photon::simt::BlockBarrier(predicate != 0, where).predicate != 0;
}
inline int __syncthreads_and(int predicate, PHOTON_SIMT_HERE) {
  const photon::simt::Barrier barrier = photon::simt::BlockBarrier(predicate != 0, where);
  return barrier.predicate == barrier.threads;
}

#undef PHOTON_SIMT_HERE
