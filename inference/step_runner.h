// Runs decoding steps; on devices that record operations, a step that comes again is replayed by one call.
#pragma once

#include <memory>
#include <string>

#include "absl/container/flat_hash_map.h"
#include "core/device.h"
#include "inference/step.h"

namespace photon {

// Used by one thread, that of the context. `device`, the context's, may be null: nothing is recorded then.
class StepRunner {
 public:
  StepRunner(const Context& context, OpenedDevice* device);
  StepRunner(const StepRunner&) = delete;
  StepRunner& operator=(const StepRunner&) = delete;
  ~StepRunner();

  // The tensor of `result` (undefined: none), good until the next call. A step whose key was seen before is recorded
  // and from then on replayed: the same operations on the same memory, hence the same bits.
  Tensor Run(Step step, Step::Value result);

  int64_t recorded() const { return recorded_; }  // steps that are replayed when they come again
  size_t bytes() const { return zone_ == nullptr ? 0 : zone_->reserved(); }  // that they work on

 private:
  struct Recorded;

  Tensor RunAndRecord(Step step, Step::Value result, Recorded& recorded);

  const Context& context_;
  OpenedDevice* device_;         // null where it doesn't record
  std::unique_ptr<Arena> zone_;  // what recorded steps work on
  // By key. Null: seen once.
  absl::flat_hash_map<std::string, std::unique_ptr<Recorded>> steps_;
  int64_t recorded_ = 0;
};

}  // namespace photon
