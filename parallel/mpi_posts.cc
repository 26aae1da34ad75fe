#include "parallel/mpi_posts.h"

#include <utility>

#include "parallel/mpi_status.h"

namespace photon {

MpiPosts::~MpiPosts() {
  {
    absl::MutexLock lock(&mutex_);
    stop_ = true;
  }
  if (pusher_.joinable()) pusher_.join();
}

absl::Status MpiPosts::Send(const Tensor& tensor, const void* data, int count, MPI_Datatype type, int to, int tag) {
  absl::MutexLock lock(&mutex_);
  posted_.push_back({MPI_REQUEST_NULL, tensor});
  PHOTON_MPI(MPI_Isend(data, count, type, to, tag, comm_, &posted_.back().request));
  const absl::Status status = ForgetGone();
  if (!posted_.empty() && !pusher_.joinable()) pusher_ = std::thread([this] { Push(); });
  return status;
}

absl::Status MpiPosts::Finish() {
  absl::MutexLock lock(&mutex_);
  const auto all_gone = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return posted_.empty(); };
  mutex_.Await(absl::Condition(&all_gone));  // the pusher sees to it
  return std::exchange(status_, absl::OkStatus());
}

absl::Status MpiPosts::ForgetGone() {
  for (int gone = 1; !posted_.empty(); posted_.pop_front()) {
    PHOTON_MPI(MPI_Test(&posted_.front().request, &gone, MPI_STATUS_IGNORE));
    if (!gone) break;
  }
  return absl::OkStatus();
}

void MpiPosts::Push() {
  const auto some = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return stop_ || !posted_.empty(); };
  while (true) {
    {
      absl::MutexLock lock(&mutex_, absl::Condition(&some));
      if (stop_) return;
      if (const absl::Status status = ForgetGone(); !status.ok()) {
        status_.Update(status);
        lost_.insert(lost_.end(), posted_.begin(), posted_.end());
        posted_.clear();
      }
    }
    nanosleep(&kMpiPause, nullptr);
  }
}

}  // namespace photon
