// Times and deadlines on the clock of core/time.h, which never jumps: the system's own may be set at any moment.
#pragma once

#include "absl/time/time.h"
#include "core/time.h"

namespace photon {

// Only its differences, and comparisons with others of its kind, mean something.
inline absl::Time SteadyNow() { return absl::UnixEpoch() + absl::Seconds(Now()); }

}  // namespace photon
