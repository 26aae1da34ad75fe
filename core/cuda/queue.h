// What the context of a CUDA device points to: the stream that its operations are queued on, and the device's limits.
#pragma once

#include <cuda_runtime.h>

#include "core/context.h"

namespace photon::cuda {

struct Queue {
  cudaStream_t stream = nullptr;
  int multiprocessors = 0;
  size_t shared_per_block = 0;  // bytes that a block may have at most, asked for explicitly (opt-in)
};

inline const Queue& QueueOf(const Context& context) { return *static_cast<const Queue*>(context.stream()); }

}  // namespace photon::cuda
