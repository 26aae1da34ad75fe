// What the context of a CUDA device points to: the stream that its operations are queued on, what they share, and the
// device's limits.
#pragma once

#include <cuda_runtime.h>

#include <limits>

#include "core/context.h"

namespace photon::cuda {

class MatrixProducts;  // core/cuda/matrix_products.h
class StagingRing;     // core/cuda/staging_ring.h

struct Queue {
  cudaStream_t stream = nullptr;
  int multiprocessors = 0;
  size_t shared_per_block = 0;  // bytes that a block may have at most, asked for explicitly (opt-in)
  int64_t warpgroups_from =
      std::numeric_limits<int64_t>::max();  // the shortest streams whose attention goes to Hopper's warpgroups
  bool recording = false;                   // inside OpenedDevice::Record(): nothing runs, nothing may wait
  bool times_products = false;              // OpenedDevice::TimeProducts()
  StagingRing* staging = nullptr;           // pinned memory on the way to and from the host
  MatrixProducts* products = nullptr;       // cuBLASLt and its choices
};

inline const Queue& QueueOf(const Context& context) { return *static_cast<const Queue*>(context.stream()); }

}  // namespace photon::cuda
