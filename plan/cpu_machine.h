// This machine's CPU, measured: for predictions that are compared with real runs.
#pragma once

#include "core/dtype.h"
#include "plan/prediction.h"

namespace photon {

// For `ranks` that share the machine, each with the threads that operations use now: operations are measured as they
// are met (core/dry/operation_time.h), messages here, between threads. Memory: an equal share of what the machine has
// left. Takes about a second.
Machine MeasureCpu(int ranks, DType dtype);

}  // namespace photon
