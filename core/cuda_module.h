// Finds and loads libphoton_cuda.so.
#pragma once

#include "core/cuda/module.h"
#include "core/status.h"

namespace photon {

// The module, loaded by the first call and never unloaded. kNotFound where the machine has no driver, kUnavailable
// where something else is missing; the message says what, and what to do. Thread-safe.
absl::StatusOr<const cuda::Module*> LoadCudaModule();

}  // namespace photon
