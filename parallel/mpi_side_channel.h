#pragma once

#include <mpi.h>

#include <memory>

#include "parallel/side_channel.h"

namespace photon {

// Over a communicator of its own, which it takes over. MPI has to be MPI_THREAD_MULTIPLE.
std::unique_ptr<SideChannel> MpiSideChannel(MPI_Comm comm);

}  // namespace photon
