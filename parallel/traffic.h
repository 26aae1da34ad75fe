// Bytes that a rank sends in a collective, by an algorithm that moves nothing twice: what communicators count, and what
// the formulas of a layout's cost add up.
#pragma once

#include <cstdint>

namespace photon {

// To each of the others, the own part. In a reduce-scatter, to each of the others, its part: as many.
inline int64_t AllGatherSent(int64_t part_bytes, int size) { return part_bytes * (size - 1); }
inline int64_t ReduceScatterSent(int64_t part_bytes, int size) { return part_bytes * (size - 1); }

// Every element is reduced by one rank, block r = [elements r / size, elements (r + 1) / size) by rank r, and handed
// round.
inline int64_t AllReduceSent(int64_t elements, int64_t element_bytes, int size, int rank) {
  const int64_t own = elements * (rank + 1) / size - elements * rank / size;
  return (elements - own + own * (size - 1)) * element_bytes;
}

}  // namespace photon
