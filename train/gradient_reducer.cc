#include "train/gradient_reducer.h"

#include <exception>
#include <map>

#include "absl/strings/str_cat.h"
#include "core/ops/elementwise.h"
#include "core/time.h"

namespace photon {

GradientReducer::GradientReducer(const Context& context, ParameterSet& parameters, const Mesh& mesh)
    : context_(context), parameters_(parameters), mesh_(mesh) {
  bool overlaps = false;
  for (size_t b = 0; b < parameters.layout().buckets.size(); ++b) {
    const AxisSet summed = Summed(static_cast<int>(b));
    Bucket bucket{.group = &mesh.group(summed), .background = mesh.background(summed)};
    bucket.at_end = summed.contains(MeshAxis::kPp);
    if (bucket.at_end) bucket.background = nullptr;
    overlaps = overlaps || bucket.background != nullptr;
    buckets_.push_back(bucket);
  }
  for (const std::unique_ptr<Parameter>& p : parameters.parameters()) ++buckets_[p->bucket].parameters;
  if (overlaps) thread_ = std::thread([this] { Loop(); });
}

AxisSet GradientReducer::Summed(int bucket) const {
  const FlatLayout& layout = parameters_.layout();
  return layout.classes[layout.buckets[bucket].in_class].summed;
}

GradientReducer::~GradientReducer() {
  if (!thread_.joinable()) return;
  {
    absl::MutexLock lock(&mutex_);
    stop_ = true;
  }
  thread_.join();
}

GradientHooks GradientReducer::Begin() {
  order_.clear();
  busy_.clear();
  complete_.clear();
  for (Bucket& bucket : buckets_) {
    bucket.missing = bucket.parameters;
    bucket.reduced = false;
  }
  GradientHooks hooks;
  if (thread_.joinable() || of_shards()) hooks.complete = [this](Parameter& p) { Complete(p); };
  if (of_shards()) {
    hooks.needed = [this](const Weight& weight) { Need(weight); };
    hooks.each_microbatch = true;
  }
  return hooks;
}

// A second bucket's memory waits for the thread while it works on the first: more would bring no more overlap.
void GradientReducer::Need(const Weight& weight) {
  constexpr int kPending = 2;
  if (weight.gradient.defined()) return;
  Drain(kPending);
  parameters_.OpenGradients(context_, weight.parameters[0]->bucket);
}

void GradientReducer::Complete(const Parameter& parameter) {
  Bucket& bucket = buckets_[parameter.bucket];
  if (bucket.at_end || (bucket.background == nullptr && !of_shards())) return;
  // Two tapes of one microbatch, say: what the first announced may be under way while the second adds to it.
  if (!of_shards() && !complete_.insert(&parameter).second) {
    failed_ = absl::InternalError(absl::StrCat("the gradient of ", parameter.spec.name,
                                               " was called complete twice in a step; "
                                               "parallel.overlap_reduction: false does without"));
    return;
  }
  if (--bucket.missing > 0) return;
  Submit(parameter.bucket);
  if (of_shards()) bucket.missing = bucket.parameters;  // for the next microbatch
}

void GradientReducer::Submit(int number) {
  Bucket& bucket = buckets_[number];
  bucket.reduced = true;
  if (of_shards()) parameters_.OpenGradients(context_, number);  // zero, where no node added anything
  Job job{number, of_shards() ? parameters_.CloseGradients(number) : parameters_.BucketGradient(number)};
  if (bucket.background == nullptr) {
    if (failed_.ok()) failed_ = Reduce(*bucket.group, job);
    Collect(job);
    return;
  }
  order_.push_back(number);
  absl::MutexLock lock(&mutex_);
  queue_.push_back(std::move(job));
  ++unfinished_;
}

Tensor GradientReducer::Own(const Job& job) const {
  const FlatBucket& flat = parameters_.layout().buckets[job.bucket];
  return job.whole.Rows(flat.own_begin - flat.begin, flat.own_end - flat.begin);
}

absl::Status GradientReducer::Reduce(Communicator& group, const Job& job) const {
  if (group.size() == 1) return absl::OkStatus();
  const std::string what = absl::StrCat("gradient bucket ", job.bucket);
  if (parameters_.sharded()) return group.ReduceScatter(what, job.whole, Own(job));
  return group.AllReduce(what, job.whole, Reduction::kSum);
}

// A device that fails throws, and so does a lack of memory; no exception may leave the thread.
absl::Status GradientReducer::ReduceBeside(const Job& job) const {
  try {
    return Reduce(*buckets_[job.bucket].background, job);
  } catch (const std::exception& error) {
    return absl::UnavailableError(error.what());
  }
}

void GradientReducer::Collect(const Job& job) {
  if (of_shards()) ops::Add(context_, Own(job), parameters_.OwnGradient(job.bucket));
}

void GradientReducer::Drain(int pending) {
  std::deque<Job> done;
  {
    absl::MutexLock lock(&mutex_);
    const auto few = [this, pending]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return unfinished_ <= pending; };
    mutex_.Await(absl::Condition(&few));
    done.swap(done_);
  }
  for (const Job& job : done) Collect(job);
}

bool GradientReducer::Outstanding(int bucket) const {
  return !buckets_[bucket].reduced || (of_shards() && parameters_.GradientsOpen(bucket));
}

// Not by what else this rank reduces beside the computation: another pipeline stage has other parameters.
absl::Status GradientReducer::ReduceAtEnd() {
  const FlatLayout& layout = parameters_.layout();
  for (int b = 0; b < static_cast<int>(buckets_.size()); ++b) {
    if (buckets_[b].background != nullptr) continue;
    if (parameters_.sharded()) {
      if (Outstanding(b)) Submit(b);
      PHOTON_RETURN_IF_ERROR(failed_);
      continue;
    }
    const FlatClass& c = layout.classes[layout.buckets[b].in_class];
    if (layout.buckets[b].begin != c.begin || buckets_[b].group->size() == 1) continue;
    PHOTON_RETURN_IF_ERROR(
        buckets_[b].group->AllReduce("gradients", parameters_.gradient().Rows(c.begin, c.end), Reduction::kSum));
  }
  return absl::OkStatus();
}

absl::Status GradientReducer::Finish() {
  for (int b = 0; b < static_cast<int>(buckets_.size()); ++b) {
    if (buckets_[b].background != nullptr && Outstanding(b)) Submit(b);
  }
  Drain(0);
  {
    absl::MutexLock lock(&mutex_);
    PHOTON_RETURN_IF_ERROR(status_);
  }
  PHOTON_RETURN_IF_ERROR(failed_);
  PHOTON_RETURN_IF_ERROR(ReduceAtEnd());  // when the thread is through
  return CheckOrder();
}

absl::Status GradientReducer::CheckOrder() {
  std::map<AxisSet, uint32_t> digests;  // of those that overlap: the same groups on all their ranks
  for (size_t b = 0; b < buckets_.size(); ++b) {
    if (buckets_[b].background != nullptr) digests[Summed(static_cast<int>(b))] = 0;
  }
  for (const int bucket : order_) {
    uint32_t& digest = digests[Summed(bucket)];
    digest = digest * 1000003u + static_cast<uint32_t>(bucket);
  }
  for (const auto& [axes, digest] : digests) {
    double range[] = {static_cast<double>(digest), -static_cast<double>(digest)};
    PHOTON_RETURN_IF_ERROR(
        mesh_.group(axes).AllReduce("order of gradients", Tensor::Wrap(range, {2}, DType::kF64), Reduction::kMax));
    if (range[0] == -range[1]) continue;
    return absl::InternalError(
        "ranks completed their gradients in different orders; parallel.overlap_reduction: false "
        "does without an order");
  }
  return absl::OkStatus();
}

void GradientReducer::Loop() {
  const auto wanted = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return stop_ || !queue_.empty(); };
  absl::MutexLock lock(&mutex_);
  while (true) {
    mutex_.Await(absl::Condition(&wanted));
    if (stop_) return;
    Job job = std::move(queue_.front());
    queue_.pop_front();
    if (status_.ok()) {
      mutex_.Unlock();
      const double begin = Now();
      const absl::Status status = ReduceBeside(job);
      busy_.push_back({begin, Now()});
      mutex_.Lock();
      status_ = status;
    }
    if (of_shards()) done_.push_back(std::move(job));
    --unfinished_;
  }
}

}  // namespace photon
