// Collectives between GPUs, over NCCL.
#pragma once

#include <memory>

#include "core/context.h"
#include "parallel/communicator.h"
#include "parallel/cuda/nccl_api.h"

namespace photon::cuda {

// Over the ranks of `host`, which it takes over and which goes on carrying host tensors, messages (Send, Receive) and
// kMax and kMin, whose NaN NCCL loses. All ranks call it; each has a GPU of its own, that of `context`.
//
// Sums, gathers and broadcasts of device tensors are queued on a stream of their own, behind what the context's stream
// holds at the call, and what is queued there afterwards waits for them. Those of a communicator ForBackground() return
// when they are done instead: for a thread that reduces while another one queues the computation.
absl::StatusOr<std::unique_ptr<Communicator>> NcclCommunicator(const NcclApi& nccl, std::unique_ptr<Communicator> host,
                                                               const Context& context);

// The same over the NCCL that LoadNccl() finds; CheckNccl() says whether it does.
absl::Status CheckNccl();
absl::StatusOr<std::unique_ptr<Communicator>> OpenNccl(std::unique_ptr<Communicator> host, const Context& context);

}  // namespace photon::cuda
