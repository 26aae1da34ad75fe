// Choosing how ranks exchange tensors of their devices.
#pragma once

#include <memory>

#include "core/device.h"
#include "parallel/communicator.h"

namespace photon {

// Over the ranks of `host`, which it takes over; reaches tensors of `device`, `context`'s, as well: over NCCL where
// every rank has a GPU of its own and NCCL can be loaded on all, else by way of the host, and rank 0 logs why. For CPUs
// `host` itself. All ranks call it.
absl::StatusOr<std::unique_ptr<Communicator>> DeviceGroup(std::unique_ptr<Communicator> host,
                                                          const OpenedDevice& device, const Context& context);

}  // namespace photon
