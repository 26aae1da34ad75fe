#include "inference/engine/engine.h"

#include <algorithm>
#include <deque>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "core/status.h"
#include "core/steady_time.h"
#include "inference/batch_generation.h"
#include "inference/engine/active_request.h"
#include "inference/engine/admission.h"
#include "inference/engine/prefix_store.h"
#include "inference/engine/prompt_reader.h"
#include "inference/generate.h"

namespace photon {

int64_t EngineStats::state_bytes() const {
  int64_t bytes = window_bytes;
  for (const int64_t level : level_bytes) bytes += level;
  return bytes;
}

class Engine::Impl {
 public:
  Impl(const Decoder& decoder, std::shared_ptr<const Tokenizer> tokenizer, const EngineOptions& options);

  absl::StatusOr<RequestId> Submit(EngineRequest request, std::shared_ptr<RequestListener> listener);
  void Cancel(RequestId id);
  bool Step();
  bool WaitForWork(absl::Duration most);
  void Shutdown();
  EngineStats stats() const;
  const Decoder& decoder() const { return decoder_; }
  const Admission& admission() const { return admission_; }

 private:
  using Requests = std::deque<std::unique_ptr<ActiveRequest>>;

  absl::flat_hash_set<RequestId> TakeSubmitted();  // and what was cancelled
  void EndLateAndCancelled(const absl::flat_hash_set<RequestId>& cancelled);
  void Admit();
  void ReadPrompts();
  void Run(ActiveRequest& request);
  void Decode();
  void DecodeTokens();
  void DecodeMetaContexts(MetaContextDecoder& meta, GenerationMode mode);
  void ShrinkWindows();
  void Report(const Member& member, absl::Span<const int32_t> tokens, absl::string_view text);
  void FinishMembers();
  void Leave();
  void Publish();
  void PublishWaiting();

  template <typename F>
  std::vector<Running*> Members(F&& chosen) const;
  bool AtMetaContexts(const Member& member) const;

  const Decoder& decoder_;
  const std::shared_ptr<const Tokenizer> tokenizer_;
  const EngineOptions options_;
  const Admission admission_;
  const BatchGeneration::Report report_;
  BatchGeneration generation_;
  std::optional<MetaContextDecoder> parallel_, rec_;  // for models that have these modes
  PrefixStore store_;
  PromptReader reader_;

  // Of the thread that steps.
  Requests waiting_, active_;
  int64_t running_ = 0;   // sequences of active_
  int64_t reserved_ = 0;  // bytes
  EngineStats counts_;

  mutable absl::Mutex mutex_;
  Requests submitted_ ABSL_GUARDED_BY(mutex_);
  absl::flat_hash_set<RequestId> cancelled_ ABSL_GUARDED_BY(mutex_);
  RequestId next_id_ ABSL_GUARDED_BY(mutex_) = 1;
  bool shut_down_ ABSL_GUARDED_BY(mutex_) = false;
  bool busy_ ABSL_GUARDED_BY(mutex_) = false;
  EngineStats published_ ABSL_GUARDED_BY(mutex_);
};

Engine::Impl::Impl(const Decoder& decoder, std::shared_ptr<const Tokenizer> tokenizer, const EngineOptions& options)
    : decoder_(decoder),
      tokenizer_(std::move(tokenizer)),
      options_(options),
      admission_(decoder, tokenizer_.get(), options),
      report_([this](const Running& running, absl::Span<const int32_t> tokens, absl::string_view text) {
        Report(static_cast<const Member&>(running), tokens, text);
      }),
      generation_(decoder.context(), report_),
      store_(decoder),
      reader_(decoder, options.share_prefixes ? &store_ : nullptr) {
  if (!CheckMode(decoder.model().config(), GenerationMode::kRec).ok() || decoder.model().levels() < 2) return;
  const auto& photon = static_cast<const PhotonDecoder&>(decoder);
  parallel_.emplace(decoder.context(), photon, MetaContextDecoder::Feedback::kTokens);
  rec_.emplace(decoder.context(), photon, MetaContextDecoder::Feedback::kReconstruction);
}

absl::StatusOr<RequestId> Engine::Impl::Submit(EngineRequest request, std::shared_ptr<RequestListener> listener) {
  PHOTON_RETURN_IF_ERROR(admission_.Validate(request));
  auto active = std::make_unique<ActiveRequest>();
  active->bytes = admission_.BytesOf(request);
  active->reading = admission_.ReadingBytesOf(request);
  active->request = std::move(request);
  active->listener = std::move(listener);
  absl::MutexLock lock(&mutex_);
  if (shut_down_) return absl::UnavailableError("the engine shuts down");
  const int64_t waiting = published_.waiting + static_cast<int64_t>(submitted_.size());
  if (waiting >= options_.max_waiting) {
    return absl::ResourceExhaustedError(absl::StrCat(waiting, " requests wait already: try again later"));
  }
  active->id = next_id_++;
  submitted_.push_back(std::move(active));
  return next_id_ - 1;
}

void Engine::Impl::Cancel(RequestId id) {
  absl::MutexLock lock(&mutex_);
  cancelled_.insert(id);
}

bool Engine::Impl::WaitForWork(absl::Duration most) {
  const auto work = [this]() ABSL_SHARED_LOCKS_REQUIRED(mutex_) { return busy_ || !submitted_.empty(); };
  absl::MutexLock lock(&mutex_);
  return mutex_.AwaitWithTimeout(absl::Condition(&work), most);
}

EngineStats Engine::Impl::stats() const {
  absl::MutexLock lock(&mutex_);
  EngineStats stats = published_;
  stats.waiting += static_cast<int64_t>(submitted_.size());
  return stats;
}

// Both at once: a request that was cancelled right behind its submission must not be missed.
absl::flat_hash_set<RequestId> Engine::Impl::TakeSubmitted() {
  absl::MutexLock lock(&mutex_);
  for (std::unique_ptr<ActiveRequest>& request : submitted_) waiting_.push_back(std::move(request));
  submitted_.clear();
  // So that Submit, which adds to this what it finds submitted, counts each once.
  published_.waiting = static_cast<int64_t>(waiting_.size());
  return std::exchange(cancelled_, {});
}

void Engine::Impl::PublishWaiting() {
  absl::MutexLock lock(&mutex_);
  published_.waiting = static_cast<int64_t>(waiting_.size());
}

void Engine::Impl::EndLateAndCancelled(const absl::flat_hash_set<RequestId>& cancelled) {
  const absl::Time now = SteadyNow();
  for (Requests* requests : {&waiting_, &active_}) {
    for (std::unique_ptr<ActiveRequest>& request : *requests) {
      if (cancelled.contains(request->id)) {
        request->end = absl::CancelledError("cancelled");
      } else if (request->request.deadline <= now) {
        request->end = absl::DeadlineExceededError(
            "the request took longer than it may (--request-timeout): ask for fewer tokens, or try when less runs");
      }
    }
  }
  Leave();
}

// First come, first served: a large request isn't passed by small ones for ever.
void Engine::Impl::Admit() {
  while (!waiting_.empty()) {
    ActiveRequest& next = *waiting_.front();
    const int64_t sequences = next.request.options.continuations;
    const int64_t bytes = sequences * next.bytes + next.reading;
    if (running_ + sequences > options_.max_running || reserved_ + bytes > options_.state_bytes) return;
    running_ += sequences;
    reserved_ += bytes;
    reader_.Add(&next);  // first: what it begins with must not be what goes to make room for it
    store_.Shrink(options_.state_bytes - reserved_);
    active_.push_back(std::move(waiting_.front()));
    waiting_.pop_front();
  }
}

void Engine::Impl::ReadPrompts() {
  // Where nobody waits for tokens, as much as goes well at once.
  const bool alone = Members([](const Member&) { return true; }).empty();
  const std::vector<ActiveRequest*> read =
      reader_.Read(alone ? std::max(options_.prefill_tokens, kPrefillTokens) : options_.prefill_tokens,
                   options_.state_bytes - reserved_, [&](ActiveRequest& request, int64_t reused) {
                     counts_.prompt_tokens += static_cast<int64_t>(request.request.prompt.size());
                     counts_.reused_tokens += reused;
                     request.listener->OnStart(reused);
                   });
  for (ActiveRequest* request : read) Run(*request);
}

// The prompt is read: each continuation gets a state of its own.
void Engine::Impl::Run(ActiveRequest& request) {
  const GenerateOptions& options = request.request.options;
  const Sequence first(options, tokenizer_, request.request.prompt);
  for (int64_t c = 0; c < options.continuations; ++c) {
    const bool last = c + 1 == options.continuations;
    DecodingState& read = request.read->state;
    Running running = {last ? std::move(read) : read.Copy(decoder_.context()), first.ForContinuation(c)};
    request.members.push_back(std::make_unique<Member>(Member{std::move(running), &request, c}));
  }
  request.read.reset();
  reserved_ -= std::exchange(request.reading, 0);
}

template <typename F>
std::vector<Running*> Engine::Impl::Members(F&& chosen) const {
  std::vector<Running*> members;
  for (const std::unique_ptr<ActiveRequest>& request : active_) {
    for (const std::unique_ptr<Member>& member : request->members) {
      if (chosen(*member)) members.push_back(member.get());
    }
  }
  return members;
}

bool Engine::Impl::AtMetaContexts(const Member& member) const {
  const GenerationMode mode = member.of->request.options.mode;
  if (!rec_.has_value() || !ByMetaContexts(decoder_.model().levels(), mode)) return false;
  return member.state.tokens % rec_->tokens() == 0;
}

void Engine::Impl::Decode() {
  DecodeTokens();
  if (parallel_.has_value()) DecodeMetaContexts(*parallel_, GenerationMode::kHierParallel);
  if (rec_.has_value()) DecodeMetaContexts(*rec_, GenerationMode::kRec);
}

void Engine::Impl::DecodeTokens() {
  generation_.DecodeTokens(decoder_, Members([&](const Member& member) { return !AtMetaContexts(member); }),
                           decoder_.border());
}

void Engine::Impl::DecodeMetaContexts(MetaContextDecoder& meta, GenerationMode mode) {
  const std::vector<Running*> members =
      Members([&](const Member& member) { return member.of->request.options.mode == mode && AtMetaContexts(member); });
  std::vector<DecodingState*> fresh;
  for (Running* running : members) {
    auto& member = static_cast<Member&>(*running);
    if (member.by_meta_contexts || member.done()) continue;
    member.by_meta_contexts = true;
    fresh.push_back(&member.state);
    ActiveRequest& request = *member.of;
    const EngineRequest& asked = request.request;
    const int64_t bytes = admission_.size().MostByMetaContexts(mode, static_cast<int64_t>(asked.prompt.size()),
                                                               asked.options.max_new_tokens);
    reserved_ -= request.bytes - bytes;
    member.released = request.bytes - bytes;
  }
  meta.TakeOver(fresh);
  generation_.DecodeMetaContext(meta, members);
}

// Those of members that left are no longer reserved.
void Engine::Impl::ShrinkWindows() {
  const auto shrink = [this](std::optional<MetaContextDecoder>& meta, GenerationMode mode) {
    if (!meta.has_value()) return;
    const std::vector<Running*> members = Members(
        [mode](const Member& member) { return member.by_meta_contexts && member.of->request.options.mode == mode; });
    meta->ShrinkTo(static_cast<int64_t>(members.size()));
  };
  shrink(parallel_, GenerationMode::kHierParallel);
  shrink(rec_, GenerationMode::kRec);
}

void Engine::Impl::Report(const Member& member, absl::Span<const int32_t> tokens, absl::string_view text) {
  if (tokens.empty() && text.empty()) return;  // it is done: FinishMembers tells
  counts_.generated_tokens += static_cast<int64_t>(tokens.size());
  const std::vector<Choice>& choices = member.sequence.result().choices;
  const size_t told = std::min(tokens.size(), choices.size());
  member.of->listener->OnTokens(member.continuation, tokens, absl::MakeConstSpan(choices).last(told), text);
}

void Engine::Impl::FinishMembers() {
  for (const std::unique_ptr<ActiveRequest>& request : active_) {
    if (request->read.has_value() || request->members.empty()) continue;
    for (std::unique_ptr<Member>& member : request->members) {
      if (!member->status.ok()) request->end = member->status;
    }
    if (request->end.has_value()) continue;
    for (std::unique_ptr<Member>& member : request->members) {
      if (!member->done()) continue;
      request->listener->OnFinish(member->continuation, member->sequence.result());
      running_ -= 1;
      reserved_ -= request->bytes - member->released;
      member.reset();
    }
    std::erase(request->members, nullptr);
    if (request->members.empty()) request->end = absl::OkStatus();
  }
}

// Lets go of the requests that are to leave, and of windows. Their listeners hear last, as they may submit and cancel.
void Engine::Impl::Leave() {
  std::vector<std::unique_ptr<ActiveRequest>> left;
  const auto leave = [&](Requests& requests, bool active) {
    for (std::unique_ptr<ActiveRequest>& request : requests) {
      if (!request->end.has_value()) continue;
      if (active) {
        // Before its members exist it holds what they will.
        const bool reading = request->members.empty() && !request->end->ok();
        const int64_t sequences =
            reading ? request->request.options.continuations : static_cast<int64_t>(request->members.size());
        running_ -= sequences;
        reserved_ -= sequences * request->bytes + request->reading;
        for (const std::unique_ptr<Member>& member : request->members) reserved_ += member->released;
        reader_.Remove(request.get());
      }
      left.push_back(std::move(request));
    }
    std::erase(requests, nullptr);
  };
  leave(waiting_, false);
  leave(active_, true);
  ShrinkWindows();
  for (const std::unique_ptr<ActiveRequest>& request : left) request->listener->OnEnd(*request->end);
}

bool Engine::Impl::Step() {
  EndLateAndCancelled(TakeSubmitted());
  Admit();
  PublishWaiting();  // a step can take long: whoever was admitted waits no more
  if (!active_.empty()) {
    const bool reads = reader_.waiting();
    ReadPrompts();
    if (!reads || !options_.prompts_first) Decode();
    FinishMembers();
    Leave();
    ++counts_.steps;
  }
  Publish();
  return !active_.empty() || !waiting_.empty();
}

void Engine::Impl::Publish() {
  EngineStats stats = counts_;
  stats.waiting = static_cast<int64_t>(waiting_.size());
  stats.running = running_;
  stats.reserved_bytes = reserved_;
  stats.prefix_bytes = store_.bytes();
  stats.level_bytes.assign(std::max(decoder_.model().levels(), 1), 0);
  const auto add = [&](const DecodingState& state) {
    const AllocatedBytes bytes = state.allocated();
    for (size_t i = 0; i < bytes.levels.size(); ++i) stats.level_bytes[i] += bytes.levels[i];
    stats.window_bytes += bytes.windows;
  };
  for (const std::unique_ptr<ActiveRequest>& request : active_) {
    if (request->read.has_value()) {
      add(request->read->state);
      stats.level_bytes.back() += request->read->row_bytes();
    }
    for (const std::unique_ptr<Member>& member : request->members) add(member->state);
  }
  for (const std::optional<MetaContextDecoder>* meta : {&parallel_, &rec_}) {
    if (meta->has_value()) stats.window_bytes += (*meta)->allocated_window_bytes();
  }
  absl::MutexLock lock(&mutex_);
  published_ = stats;
  busy_ = !active_.empty() || !waiting_.empty();
}

void Engine::Impl::Shutdown() {
  {
    absl::MutexLock lock(&mutex_);
    shut_down_ = true;
  }
  TakeSubmitted();
  for (Requests* requests : {&waiting_, &active_}) {
    for (std::unique_ptr<ActiveRequest>& request : *requests)
      request->end = absl::UnavailableError("the engine shuts down");
  }
  Leave();
  Publish();
}

Engine::Engine(const Decoder& decoder, std::shared_ptr<const Tokenizer> tokenizer, const EngineOptions& options)
    : options_(options), tokenizer_(tokenizer), impl_(std::make_unique<Impl>(decoder, std::move(tokenizer), options)) {}
Engine::~Engine() { Shutdown(); }

absl::StatusOr<RequestId> Engine::Submit(EngineRequest request, std::shared_ptr<RequestListener> listener) {
  return impl_->Submit(std::move(request), std::move(listener));
}
int64_t Engine::MostNewTokens(const EngineRequest& request, int64_t most) const {
  return impl_->admission().MostNewTokens(request, most);
}
void Engine::Cancel(RequestId id) { impl_->Cancel(id); }
bool Engine::Step() { return impl_->Step(); }
bool Engine::WaitForWork(absl::Duration most) { return impl_->WaitForWork(most); }
void Engine::Shutdown() { impl_->Shutdown(); }
EngineStats Engine::stats() const { return impl_->stats(); }
const LanguageModel& Engine::model() const { return impl_->decoder().model(); }

}  // namespace photon
