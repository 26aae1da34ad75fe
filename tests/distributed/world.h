// The group of all ranks, for tests that run under mpirun.
#pragma once

#include "parallel/communicator.h"

namespace photon::testing {

Communicator& World();

}  // namespace photon::testing
