// Messages that their sender doesn't wait for, over MPI.
//
// Open MPI moves large messages only inside its calls: a thread keeps them going while the rank computes.
// (bench/pipeline
// --mb 2, over TCP: without it a step took twice as long as predicted.)
#pragma once

#include <mpi.h>

#include <ctime>
#include <deque>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "core/status.h"
#include "core/tensor.h"

namespace photon {

// Between two looks of a rank that leaves its core to others.
inline constexpr timespec kMpiPause = {.tv_sec = 0, .tv_nsec = 50'000};

class MpiPosts {
 public:
  explicit MpiPosts(MPI_Comm comm) : comm_(comm) {}
  ~MpiPosts();

  // Begins to send `count` elements at `data`, which `tensor` holds and keeps until they have gone.
  absl::Status Send(const Tensor& tensor, const void* data, int count, MPI_Datatype type, int to, int tag);
  // Waits until all have gone; the first error of those since the last call.
  absl::Status Finish();

 private:
  struct Posted {
    MPI_Request request;
    Tensor tensor;
  };
  // Lets go of the oldest that have gone.
  absl::Status ForgetGone() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Push();

  const MPI_Comm comm_;
  absl::Mutex mutex_;
  std::deque<Posted> posted_ ABSL_GUARDED_BY(mutex_);
  std::deque<Posted> lost_ ABSL_GUARDED_BY(mutex_);  // after an error: MPI may be reading them still
  absl::Status status_ ABSL_GUARDED_BY(mutex_);  // of those that failed after they were begun
  bool stop_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread pusher_;  // from the first message on that doesn't go at once
};

}  // namespace photon
