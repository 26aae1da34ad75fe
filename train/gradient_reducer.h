// Sums gradients over the ranks that hold the same parameters, while the backward pass still computes the others where
// the mesh has groups for that (Mesh::background).
//
// Without sharding every rank gets the sums: one call a class of parameters (core/parameter_layout.h) at the end, or
// one a bucket as soon as the tape says that all of its gradients are complete. Where the optimizer is sharded, each
// rank gets the sums of what it keeps, in its place of the bucket. Where gradients are, too, a bucket's memory exists
// from the first gradient that goes into it to its reduction, in every microbatch anew, and what comes of that is added
// up.
//
// Every element is summed in rank order however buckets are cut, so the result is bitwise that of one call at the end;
// but with sharded gradients and several microbatches, ranks are summed before microbatches.
//
// Buckets go in the order in which they become ready, which follows from the model and the batch's shape alone:
// Finish() makes sure that all ranks had the same. Parameters that all stages of a pipeline have become ready in
// another order on each, and wait for Finish(). One thread reduces what overlaps, whatever its group: two groups of
// NCCL at once may wait for each other.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_set.h"
#include "absl/synchronization/mutex.h"
#include "core/parameter.h"
#include "core/tape.h"
#include "parallel/mesh.h"

namespace photon {

class GradientReducer {
 public:
  // The set is allocated, with gradients, for the mesh's place; all outlive this.
  GradientReducer(const Context& context, ParameterSet& parameters, const Mesh& mesh);
  ~GradientReducer();
  GradientReducer(const GradientReducer&) = delete;
  GradientReducer& operator=(const GradientReducer&) = delete;

  // Before a step's first microbatch; its tapes get the hooks (empty where all is done at the end).
  GradientHooks Begin();
  // After the backward pass: reduces what no hook announced, and waits for the rest. Collective.
  absl::Status Finish();

  // When the thread worked on buckets of the last step: for a trace. After Finish().
  struct Busy {
    double begin, end;
  };
  const std::vector<Busy>& busy() const { return busy_; }

 private:
  struct Bucket {
    Communicator* group = nullptr;
    Communicator* background = nullptr;  // null: not beside the computation
    bool at_end = false;                 // not before Finish()
    int parameters = 0;
    int missing = 0;       // of them, until all are complete
    bool reduced = false;  // once at least in this step
  };
  struct Job {
    int bucket;
    Tensor whole;  // the bucket's gradients
  };
  bool of_shards() const { return parameters_.options().sharding == Sharding::kGradients; }
  AxisSet Summed(int bucket) const;  // the axes that it is summed over
  void Need(const Weight& weight);
  void Complete(const Parameter& parameter);
  void Submit(int bucket);
  Tensor Own(const Job& job) const;
  absl::Status Reduce(Communicator& group, const Job& job) const;
  absl::Status ReduceBeside(const Job& job) const;
  void Collect(const Job& job);
  // Collects what the thread has done, and waits until at most `pending` of its jobs are left.
  void Drain(int pending);
  bool Outstanding(int bucket) const;  // something of it is not reduced yet
  absl::Status ReduceAtEnd();
  absl::Status CheckOrder();
  void Loop();

  const Context& context_;
  ParameterSet& parameters_;
  const Mesh& mesh_;
  std::vector<Bucket> buckets_;
  std::vector<int> order_;                          // of what the thread was given in this step
  absl::Status failed_;                             // of what a hook did itself
  absl::flat_hash_set<const Parameter*> complete_;  // in this step

  absl::Mutex mutex_;
  std::deque<Job> queue_ ABSL_GUARDED_BY(mutex_);
  std::deque<Job> done_ ABSL_GUARDED_BY(mutex_);
  int unfinished_ ABSL_GUARDED_BY(mutex_) = 0;
  bool stop_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Status status_ ABSL_GUARDED_BY(mutex_);  // the thread's first failure
  std::vector<Busy> busy_;                       // the thread's while unfinished_ > 0
  std::thread thread_;
};

}  // namespace photon
