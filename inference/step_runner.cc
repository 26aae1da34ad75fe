#include "inference/step_runner.h"

#include <utility>

#include "core/ops/elementwise.h"
#include "core/ops/memory.h"
#include "core/profiler.h"

namespace photon {
namespace {

// Of one decoder; the states of a driver's graph take up to some MB. Where batches change so much, few come again.
constexpr size_t kMostSteps = 512;

Tensor ResultOf(const Step::Values& values, Step::Value result) { return result.defined() ? values[result] : Tensor(); }

}  // namespace

struct StepRunner::Recorded {
  Step step;       // owns constants that the operations read
  Tensor uploads;  // where the operations look for them
  Tensor result;
  std::unique_ptr<DeviceGraph> graph;
};

StepRunner::StepRunner(const Context& context, OpenedDevice* device)
    : context_(context), device_(device != nullptr && device->records() ? device : nullptr) {
  if (ActiveProfiler(context) != nullptr) device_ = nullptr;  // it wants to see each operation in its scope
  if (device_ != nullptr) zone_ = device_->allocator().NewZone();
}

StepRunner::~StepRunner() = default;

Tensor StepRunner::Run(Step step, Step::Value result) {
  if (device_ == nullptr) return ResultOf(RunOnce(context_, step), result);
  const auto found = steps_.find(step.key());
  if (found == steps_.end()) {
    if (steps_.size() >= kMostSteps) {
      steps_.clear();
      recorded_ = 0;
    }
    steps_.emplace(step.key(), nullptr);
    return ResultOf(RunOnce(context_, step), result);
  }
  if (found->second == nullptr) {
    auto recorded =
        std::make_unique<Recorded>(Recorded{.step = Step(context_), .uploads = {}, .result = {}, .graph = {}});
    const Tensor first = RunAndRecord(std::move(step), result, *recorded);
    found->second = std::move(recorded);  // only what is whole: memory may run out in between
    return first;
  }
  ops::CopyFromHost(context_, step.uploads().data(), found->second->uploads);
  found->second->graph->Launch();
  return found->second->result;
}

// Once as it is, which gives the result and the zone its size; then for the record. The first result moves out of the
// zone, so that the second takes its place.
Tensor StepRunner::RunAndRecord(Step step, Step::Value result, Recorded& recorded) {
  recorded.uploads =
      context_.FromHost(step.uploads().data(), {static_cast<int64_t>(step.uploads().size())}, DType::kU8);
  const auto run = [&] {
    const ZonedAllocator::Scope scope(device_->allocator(), *zone_);
    return ResultOf(step.Run(recorded.uploads), result);
  };
  Tensor own;
  {
    const Tensor first = run();
    if (first.defined()) {
      own = context_.Empty(first.shape(), first.dtype());
      ops::Cast(context_, first, own);
    }
  }
  recorded.graph = device_->Record(context_, [&] { recorded.result = run(); });
  recorded.step = std::move(step);
  ++recorded_;
  return own;
}

}  // namespace photon
