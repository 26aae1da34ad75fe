// A device's measured bound of everything that is read once, such as weights in decoding.
#pragma once

#include "core/context.h"

namespace photon {

// Bytes a second that the context's device reads from its memory, on a CPU with the threads that operations use now:
// the best of several passes over far more than its caches hold. Takes about 0.3 s.
double MeasureReadBandwidth(const Context& context);

}  // namespace photon
