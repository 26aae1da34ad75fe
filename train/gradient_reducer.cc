#include "train/gradient_reducer.h"

#include <exception>

#include "absl/strings/str_cat.h"
#include "core/time.h"

namespace photon {

GradientReducer::GradientReducer(const ParameterSet& parameters, Communicator& comm, Communicator* background,
                                 int64_t bucket_bytes)
    : comm_(comm), background_(comm.size() > 1 ? background : nullptr), whole_(parameters.gradient()) {
  if (background_ == nullptr) return;
  Cut(parameters, bucket_bytes);
  thread_ = std::thread([this] { Loop(); });
}

GradientReducer::~GradientReducer() {
  if (!thread_.joinable()) return;
  {
    absl::MutexLock lock(&mutex_);
    stop_ = true;
  }
  thread_.join();
}

void GradientReducer::Cut(const ParameterSet& parameters, int64_t bucket_bytes) {
  const std::vector<std::unique_ptr<Parameter>>& all = parameters.parameters();
  const auto bytes = static_cast<int64_t>(ByteSize(whole_.dtype()));
  int64_t begin = 0;
  for (size_t i = 0; i < all.size(); ++i) {
    if (buckets_.empty() || (all[i]->begin - begin) * bytes >= bucket_bytes) {
      begin = all[i]->begin;
      buckets_.emplace_back();
    }
    Bucket& bucket = buckets_.back();
    bucket.gradient = whole_.Rows(begin, all[i]->begin + all[i]->elements());
    ++bucket.parameters;
    bucket_of_[all[i].get()] = buckets() - 1;
  }
}

Tape::GradientHook GradientReducer::Begin() {
  if (background_ == nullptr) return {};
  order_.clear();
  busy_.clear();
  for (Bucket& bucket : buckets_) bucket.missing = bucket.parameters;
  return [this](Parameter& parameter) { Complete(parameter); };
}

void GradientReducer::Complete(const Parameter& parameter) {
  const int bucket = bucket_of_.at(&parameter);
  if (--buckets_[bucket].missing == 0) Submit(bucket);
}

void GradientReducer::Submit(int bucket) {
  order_.push_back(bucket);
  absl::MutexLock lock(&mutex_);
  queue_.push_back(bucket);
  ++unfinished_;
}

absl::Status GradientReducer::Finish() {
  if (background_ == nullptr) return comm_.AllReduce("gradients", whole_, Reduction::kSum);
  for (int i = 0; i < buckets(); ++i) {
    if (buckets_[i].missing > 0) Submit(i);
  }
  {
    absl::MutexLock lock(&mutex_);
    const auto idle = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return unfinished_ == 0; };
    mutex_.Await(absl::Condition(&idle));
    PHOTON_RETURN_IF_ERROR(status_);
  }
  return CheckOrder();
}

absl::Status GradientReducer::CheckOrder() {
  uint32_t digest = 0;
  for (const int bucket : order_) digest = digest * 1000003u + static_cast<uint32_t>(bucket);
  double range[] = {static_cast<double>(digest), -static_cast<double>(digest)};
  PHOTON_RETURN_IF_ERROR(comm_.AllReduce("order of gradients", Tensor::Wrap(range, {2}, DType::kF64), Reduction::kMax));
  if (range[0] == -range[1]) return absl::OkStatus();
  return absl::InternalError(
      "ranks completed their gradients in different orders; parallel.overlap_reduction: false "
      "does without an order");
}

// A device that fails throws, and so does a lack of memory; no exception may leave the thread.
absl::Status GradientReducer::Reduce(int bucket) {
  try {
    return background_->AllReduce(absl::StrCat("gradient bucket ", bucket), buckets_[bucket].gradient, Reduction::kSum);
  } catch (const std::exception& error) {
    return absl::UnavailableError(error.what());
  }
}

void GradientReducer::Loop() {
  const auto wanted = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return stop_ || !queue_.empty(); };
  absl::MutexLock lock(&mutex_);
  while (true) {
    mutex_.Await(absl::Condition(&wanted));
    if (stop_) return;
    const int bucket = queue_.front();
    queue_.pop_front();
    if (status_.ok()) {
      mutex_.Unlock();
      const double begin = Now();
      const absl::Status status = Reduce(bucket);
      busy_.push_back({begin, Now()});
      mutex_.Lock();
      status_ = status;
    }
    --unfinished_;
  }
}

}  // namespace photon
