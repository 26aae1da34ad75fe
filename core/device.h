// Opening a device by name, and what a device can do besides operations (core/backend.h).
#pragma once

#include <functional>
#include <memory>
#include <stdexcept>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "core/allocator.h"
#include "core/context.h"

namespace photon {

// Thrown where the device fails under way: a launch it refuses, a fault in a kernel, a device that is lost. Says
// device, operation and the driver's words. Nothing on that device can be used afterwards: the program ends with exit
// code 4.
class DeviceError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// Recorded operations, queued again by one call, on the same memory.
class DeviceGraph {
 public:
  virtual ~DeviceGraph() = default;
  virtual void Launch() = 0;
};

struct DeviceMemory {
  size_t total = 0, free = 0;  // bytes
};

// kInvalidArgument where `name` is none that Open() takes.
absl::Status CheckDeviceName(absl::string_view name);

class RangeMarker;  // core/profiler.h

// One device, ready for use by one thread. It outlives all contexts, tensors and graphs made with it.
class OpenedDevice {
 public:
  // `name`: "cpu", "cuda" (the one of this rank's place among its node's: `local_rank` modulo their number), "cuda:1",
  // or "auto": a GPU where one can be used, else the CPU, and then `why_cpu` (may be null) is told the reason.
  // kInvalidArgument for another name, kUnavailable (exit code 4) with the reason and what to do where the device can't
  // be used.
  static absl::StatusOr<std::unique_ptr<OpenedDevice>> Open(absl::string_view name, int local_rank = 0,
                                                            std::string* why_cpu = nullptr);

  virtual ~OpenedDevice() = default;

  virtual Device device() const = 0;
  virtual std::string Description() const = 0;  // "NVIDIA H200, 139.8 GiB, compute capability 9.0, driver 580.65"
  // Tells physical devices apart, on all machines: ranks of one identity share a device.
  virtual std::string Identity() const = 0;
  virtual DeviceMemory memory() const = 0;
  // Memory of the device; every context takes it from here.
  virtual ZonedAllocator& allocator() = 0;
  // `profiler` as in Context; may be null.
  virtual Context MakeContext(Profiler* profiler) = 0;

  // Shows ranges of the program to a tool that looks at the device; null where none does.
  virtual RangeMarker* marker() { return nullptr; }

  // False where operations only tell what they would do (core/dry/): nobody need make values for them.
  virtual bool computes() const { return true; }

  // Whether the fastest algorithm for a shape is looked for by timing several and remembered, from run to run where a
  // folder for that is (core/cuda/algorithm_cache.h). Off at first: what is chosen by timing may differ from machine to
  // machine, and with it the last bits of sums.
  virtual void TimeProducts(bool) {}

  // Whether Record() works. Where it doesn't, call the body instead.
  virtual bool records() const { return false; }
  // Runs `body` without executing what it queues, and returns that. The body may not wait for the device, nor copy to
  // or from the host, and must have run once before, so that its memory has its size. All memory it uses, but for
  // tensors that outlive the graph, must come from a zone (ZonedAllocator::Scope) that the caller keeps as long as the
  // graph and uses for nothing that has to survive a Launch().
  virtual std::unique_ptr<DeviceGraph> Record(const Context& context, const std::function<void()>& body) = 0;
};

}  // namespace photon
