// A piece of work that is the same at every step: run as it is at first, then recorded on devices that record, and from
// then on queued as one.
#pragma once

#include <functional>
#include <memory>

#include "core/device.h"

namespace photon {

class Replay {
 public:
  // `device` outlives this.
  explicit Replay(OpenedDevice& device) : device_(device), zone_(device.allocator().NewZone()) {}

  // Does the work. `body` is the same in every call: the same operations on the same memory, apart from what it
  // allocates and lets go. The first call warms up (memory, algorithms); the second records.
  void Run(const Context& context, const std::function<void()>& body);

  // Memory that it works in, and that nobody else has.
  const Arena& zone() const { return *zone_; }

 private:
  OpenedDevice& device_;
  std::unique_ptr<Arena> zone_;  // outlives the graph
  std::unique_ptr<DeviceGraph> graph_;
  bool warm_ = false;
};

}  // namespace photon
