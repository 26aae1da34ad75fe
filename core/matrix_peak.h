// The machine's measured matrix peak: what model FLOP utilisation is counted against.
#pragma once

#include "core/context.h"

namespace photon {

// FLOP/s of the best of several square products of the dtype (768 to 2048 wide, second factor plain and transposed; on
// a GPU up to 8192 wide, several queued at once), with the threads that operations use now. Takes about 0.3 s, longer
// only where one product takes longer.
//
// Measured, never looked up by the device's name; hence lower while others compute on the same cores. Ranks that share
// a machine should call it at the same time: each then gets its share of the machine, as it does in training.
double MeasureMatrixPeak(const Context& context, DType dtype);

}  // namespace photon
