// A copy of what a checkpoint holds, in memory that is kept from save to save, so that training may go on changing the
// originals while the copy is written.
#pragma once

#include <cstdint>
#include <vector>

#include "checkpoint/store.h"
#include "core/available_memory.h"
#include "core/context.h"
#include "parallel/communicator.h"

namespace photon {

class Snapshot {
 public:
  Snapshot() = default;
  Snapshot(const Snapshot&) = delete;
  Snapshot& operator=(const Snapshot&) = delete;
  ~Snapshot() { Release(); }

  // Makes room for copies of such parts, touched, so that the first copy is no slower than later ones. Collective, and
  // the same on all ranks: kResourceExhausted where some machine does not have the memory for all of its ranks
  // together. `available`: what this one has; -1: unknown.
  absl::Status Reserve(const std::vector<TensorPart>& parts, Communicator& world,
                       int64_t available = AvailableMemory());
  int64_t bytes() const { return bytes_; }

  // Copies the parts' values with all threads of the caller, or from the device of `context`; the same parts, of the
  // copies in host memory. They hold until the next call. Parts of the shapes that were reserved for.
  std::vector<TensorPart> Take(const Context& context, std::vector<TensorPart> parts);

 private:
  void Release();

  char* memory_ = nullptr;
  int64_t bytes_ = 0;
};

}  // namespace photon
