// How long operations take: from a device's figures, or measured on the machine at hand. Both can be shared by threads.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/synchronization/mutex.h"
#include "core/dry/device_figures.h"
#include "core/dry/operation.h"

namespace photon::dry {

class OperationTime {
 public:
  virtual ~OperationTime() = default;
  virtual double Seconds(const Operation& operation) = 0;
};

// The longer of computing and moving bytes (a roofline), and a launch. A product reaches product_share of the peak,
// less what is lost in tiles of 128 x 128 that are not full, in a last round of tiles that leaves multiprocessors idle,
// and in filling pipelines where k is short.
class FiguredTime final : public OperationTime {
 public:
  explicit FiguredTime(DeviceFigures figures) : figures_(std::move(figures)) {}
  double Seconds(const Operation& operation) override;

 private:
  DeviceFigures figures_;
};

// Every kind of operation that is met is done on this machine's CPU, once and for all, by as many threads at once as
// ranks share the machine, each with its own operands: what shares caches, bandwidth and cores in a run does so here.
class MeasuredTime final : public OperationTime {
 public:
  // `ranks`: that share the machine.
  explicit MeasuredTime(int ranks) : ranks_(ranks) {}
  double Seconds(const Operation& operation) override;

 private:
  const int ranks_;
  absl::Mutex mutex_;
  absl::flat_hash_map<uint64_t, double> known_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace photon::dry
