#include "data/loader.h"

#include <exception>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/check.h"

namespace photon {

absl::StatusOr<std::unique_ptr<Loader>> Loader::Create(std::shared_ptr<const BatchSource> source,
                                                       const LoaderOptions& options) {
  PHOTON_CHECK(options.ranks > 0 && options.rank >= 0 && options.rank < options.ranks && options.steps_ahead > 0);
  LoaderOptions filled = options;
  if (options.batch_sequences < 1 || options.batch_sequences % options.ranks != 0) {
    return absl::InvalidArgumentError(absl::StrCat("training.batch_sequences ", options.batch_sequences,
                                                   " can't be shared evenly by ", options.ranks, " ranks"));
  }
  const int64_t share = options.batch_sequences / options.ranks;
  if (options.micro_batch_sequences == 0) filled.micro_batch_sequences = share;
  if (filled.micro_batch_sequences < 1 || share % filled.micro_batch_sequences != 0) {
    return absl::InvalidArgumentError(absl::StrCat("training.micro_batch_sequences ", filled.micro_batch_sequences,
                                                   " does not divide the ", share, " sequences of a rank"));
  }
  return std::unique_ptr<Loader>(new Loader(std::move(source), filled));
}

Loader::Loader(std::shared_ptr<const BatchSource> source, const LoaderOptions& options)
    : source_(std::move(source)), options_(options), thread_([this] { Run(); }) {}

Loader::~Loader() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

absl::StatusOr<StepData> Loader::Next() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return !ready_.empty(); });
  if (!ready_.front().ok()) return ready_.front();
  absl::StatusOr<StepData> data = std::move(ready_.front());
  ready_.pop_front();
  changed_.notify_all();
  return data;
}

void Loader::Seek(int64_t step) {
  PHOTON_CHECK(step >= 0) << step;
  const std::lock_guard lock(mutex_);
  ready_.clear();
  next_to_prepare_ = step;
  ++seeks_;
  changed_.notify_all();
}

absl::StatusOr<StepData> Loader::Prepare(int64_t step) const {
  const int64_t share = options_.batch_sequences / options_.ranks;
  PHOTON_RETURN_IF_ERROR(source_->CheckUnchanged());
  StepData data{.step = step, .microbatches = {}};
  for (int64_t first = options_.rank * share; first < (options_.rank + 1) * share;
       first += options_.micro_batch_sequences) {
    PHOTON_ASSIGN_OR_RETURN(TokenBatch batch,
                            source_->Batch(step, options_.batch_sequences, first, options_.micro_batch_sequences));
    data.microbatches.push_back(std::move(batch));
  }
  return data;
}

absl::StatusOr<StepData> Loader::PrepareGuarded(int64_t step) const {
  try {
    return Prepare(step);
  } catch (const std::exception& error) {  // std::bad_alloc and std::length_error
    return absl::ResourceExhaustedError(absl::StrCat("no memory for the batch of step ", step, " (", error.what(),
                                                     "): lower training.batch_sequences or data.sequence_length"));
  }
}

void Loader::Run() {
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [this] {
      const bool failed = !ready_.empty() && !ready_.back().ok();
      return stopping_ || (!failed && static_cast<int64_t>(ready_.size()) < options_.steps_ahead);
    });
    if (stopping_) return;
    const int64_t step = next_to_prepare_++, seeks = seeks_;
    lock.unlock();
    absl::StatusOr<StepData> data = PrepareGuarded(step);
    lock.lock();
    if (seeks != seeks_) continue;
    ready_.push_back(std::move(data));
    changed_.notify_all();
  }
}

}  // namespace photon
