// An NCCL whose ranks are threads with an emulated GPU each, for tests of what is built on it.
#pragma once

#include "parallel/cuda/nccl_api.h"

namespace photon::testing {

// Collectives wait on their stream until all ranks' streams reach theirs, as NCCL's do; sums go in rank order. A rank
// that aborts, and those that wait for it, are let go.
const cuda::NcclApi& FakeNccl();
// Every communicator made until now and later reports this error when it is asked for late ones; kNcclSuccess heals.
void FailNccl(cuda::NcclResult error);
// How many communicators were aborted since the program began.
int AbortedNccl();

}  // namespace photon::testing
