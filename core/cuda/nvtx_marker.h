// The program's ranges for NVIDIA's tools: Nsight Systems shows them above the kernels that were queued in them.
#pragma once

#include <memory>

#include "core/profiler.h"

namespace photon::cuda {

// Null where no tool listens to NVTX: ranges then cost nothing, and steps are recorded.
std::unique_ptr<RangeMarker> NvtxMarker();

}  // namespace photon::cuda
