// Collectives of device tensors by way of the host: for ranks that share a GPU, which NCCL refuses, and where there is
// no NCCL. Sums are the host communicator's: in rank order, bitwise the same as on CPUs.
#pragma once

#include <memory>

#include "core/context.h"
#include "parallel/communicator.h"

namespace photon {

// Over the ranks of `host`, which it takes over; reaches host tensors as before, and those of `context`'s device. Every
// call on a device tensor waits for the device.
std::unique_ptr<Communicator> StagedCommunicator(std::unique_ptr<Communicator> host, const Context& context);

}  // namespace photon
