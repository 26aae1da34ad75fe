// What an operation needs to run: a device, its backend, memory and an order of execution.
//
// One context a device and thread of execution; operations on it run in the order of the calls. On the CPU they are
// done on return; on a GPU they are queued on `stream` and Synchronize() waits for them.
#pragma once

#include <source_location>

#include "core/allocator.h"
#include "core/tensor.h"

namespace photon {

struct Backend;  // core/backend.h: the table of operations
class Profiler;  // core/profiler.h

class Context {
 public:
  // `profiler`: gets the scopes and the traffic of what runs in this context; null: nobody looks.
  Context(Device device, const Backend& backend, Allocator& allocator, void* stream = nullptr,
          Profiler* profiler = nullptr)
      : device_(device), backend_(&backend), allocator_(&allocator), stream_(stream), profiler_(profiler) {}

  Device device() const { return device_; }
  const Backend& backend() const { return *backend_; }
  Allocator& allocator() const { return *allocator_; }
  void* stream() const { return stream_; }
  Profiler* profiler() const { return profiler_; }

  // With it, a row of a product with weights is the same, bit for bit, whichever and how many rows it is computed with.
  // Costs up to half the speed of large products on a CPU, more on a GPU.
  bool batch_invariant() const { return batch_invariant_; }
  void SetBatchInvariant(bool invariant) { batch_invariant_ = invariant; }

  // Where there is no memory, OutOfMemory names the device, the tensor and, by `where`, the operation that wanted it.
  using Place = std::source_location;
  Tensor Empty(Shape shape, DType dtype, const Place& where = Place::current()) const;
  Tensor Zeros(Shape shape, DType dtype, const Place& where = Place::current()) const;
  Tensor FromHost(const void* data, Shape shape, DType dtype, const Place& where = Place::current()) const;  // copies
  void ToHost(const Tensor& tensor, void* data) const;  // waits; tensor contiguous
  void Synchronize() const;

 private:
  Device device_;
  const Backend* backend_;
  Allocator* allocator_;
  void* stream_;
  Profiler* profiler_;
  bool batch_invariant_ = false;
};

}  // namespace photon
