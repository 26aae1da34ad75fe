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

// For training.deterministic: kFailedPrecondition where sums over the group may be taken in another order from run to
// run. `nccl_algo`: NCCL's variable NCCL_ALGO, null where it is not set. NCCL left to itself may let the switches add
// up (NVLS, SHARP), in an order that nobody promises; along its rings and trees the order is fixed. Two summands have
// but one order.
absl::Status CheckSumOrder(const Communicator& group, const char* nccl_algo);

}  // namespace photon
