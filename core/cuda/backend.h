// CUDA's table of operations.
#pragma once

#include "core/backend.h"

namespace photon::cuda {

const Backend& CudaBackend();

}  // namespace photon::cuda
