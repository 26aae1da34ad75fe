// A device that does nothing: for running a program to learn what it would need.
//
// Operations check their operands as on any device (core/ops/), tell a listener what they would have done, and return.
// Memory is counted exactly as on a real device, by the same arena, at addresses where there is none: reading a
// tensor's elements is a fault. What is copied to the host is zeros.
#pragma once

#include "core/backend.h"
#include "core/device.h"
#include "core/dry/operation.h"

namespace photon::dry {

// A table whose operations report to `listener`.
class DryBackend : public Backend {
 public:
  explicit DryBackend(Listener& listener);
  Listener& listener() const { return listener_; }

 private:
  Listener& listener_;
};

class DryDevice : public OpenedDevice {
 public:
  // Stands for a device with `memory` bytes. They are not enforced: peaks say what would have been needed.
  DryDevice(size_t memory, Listener& listener);

  Device device() const override { return {}; }
  std::string Description() const override { return "dry"; }
  std::string Identity() const override { return "dry"; }
  DeviceMemory memory() const override { return {.total = memory_, .free = memory_}; }
  ZonedAllocator& allocator() override { return allocator_; }
  Context MakeContext(Profiler* profiler) override;
  bool computes() const override { return false; }
  std::unique_ptr<DeviceGraph> Record(const Context& context, const std::function<void()>& body) override;

 private:
  size_t memory_;
  DryBackend backend_;
  ZonedAllocator allocator_;
};

}  // namespace photon::dry
