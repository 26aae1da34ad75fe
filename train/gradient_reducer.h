// Sums gradients over data-parallel ranks while the backward pass still computes the others.
//
// The flat gradient buffer is cut into buckets of whole parameters. A bucket is ready when the tape says that all of
// its gradients are complete; a thread of the reducer's own then reduces it over a communicator of its own. Every
// element is summed in rank order however buckets are cut, so the result is bitwise that of one call at the end.
//
// Buckets go in the order in which they become ready, which follows from the model and the batch's shape alone:
// Finish() makes sure that all ranks had the same.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/synchronization/mutex.h"
#include "core/parameter.h"
#include "core/tape.h"
#include "parallel/communicator.h"

namespace photon {

class GradientReducer {
 public:
  // `background`: of the same ranks as `comm`, for this reducer's thread alone; null: Finish() reduces everything in
  // one call over `comm`. The set is allocated; all outlive this.
  GradientReducer(const ParameterSet& parameters, Communicator& comm, Communicator* background, int64_t bucket_bytes);
  ~GradientReducer();
  GradientReducer(const GradientReducer&) = delete;
  GradientReducer& operator=(const GradientReducer&) = delete;

  // Before a step's last microbatch; its tape gets the hook (empty where nothing overlaps).
  Tape::GradientHook Begin();
  // After the backward pass: reduces what no hook announced, and waits for the rest. Collective.
  absl::Status Finish();

  int buckets() const { return static_cast<int>(buckets_.size()); }
  // When the thread worked on buckets of the last step: for a trace. After Finish().
  struct Busy {
    double begin, end;
  };
  const std::vector<Busy>& busy() const { return busy_; }

 private:
  struct Bucket {
    Tensor gradient;
    int parameters = 0;
    int missing = 0;  // of them, in this step
  };
  void Cut(const ParameterSet& parameters, int64_t bucket_bytes);
  void Complete(const Parameter& parameter);
  void Submit(int bucket);
  absl::Status CheckOrder();
  absl::Status Reduce(int bucket);
  void Loop();

  Communicator& comm_;
  Communicator* const background_;
  const Tensor whole_;
  std::vector<Bucket> buckets_;
  absl::flat_hash_map<const Parameter*, int> bucket_of_;
  std::vector<int> order_;  // of submission in this step

  absl::Mutex mutex_;
  std::deque<int> queue_ ABSL_GUARDED_BY(mutex_);
  int unfinished_ ABSL_GUARDED_BY(mutex_) = 0;
  bool stop_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Status status_ ABSL_GUARDED_BY(mutex_);  // the first failure
  std::vector<Busy> busy_;                       // the thread's while unfinished_ > 0
  std::thread thread_;
};

}  // namespace photon
