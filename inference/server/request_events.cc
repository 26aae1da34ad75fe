#include "inference/server/request_events.h"

#include <map>
#include <utility>

#include "core/steady_time.h"

namespace photon {
namespace {

class QueueListener : public RequestListener {
 public:
  QueueListener(std::shared_ptr<EventQueue> queue, size_t prompt, absl::Time begin, Metrics* metrics)
      : queue_(std::move(queue)), prompt_(prompt), begin_(begin), metrics_(metrics) {}

  void OnStart(int64_t reused) override {
    RequestEvent event{RequestEvent::Kind::kStart, prompt_};
    event.reused = reused;
    queue_->Push(std::move(event));
  }

  void OnTokens(int64_t continuation, absl::Span<const int32_t> tokens, absl::Span<const Choice> choices,
                absl::string_view text) override {
    Measure(continuation);
    RequestEvent event{RequestEvent::Kind::kTokens, prompt_, continuation};
    event.tokens.assign(tokens.begin(), tokens.end());
    event.choices.assign(choices.begin(), choices.end());
    event.text = std::string(text);
    queue_->Push(std::move(event));
  }

  void OnFinish(int64_t continuation, const Continuation& result) override {
    RequestEvent event{RequestEvent::Kind::kFinish, prompt_, continuation};
    event.result = result;
    queue_->Push(std::move(event));
  }

  void OnEnd(const absl::Status& status) override {
    RequestEvent event{RequestEvent::Kind::kEnd, prompt_};
    event.status = status;
    queue_->Push(std::move(event));
  }

 private:
  void Measure(int64_t continuation) {
    const absl::Time now = SteadyNow();
    if (last_.empty()) metrics_->FirstTokens(now - begin_);
    const auto [at, first] = last_.try_emplace(continuation, now);
    if (first) return;
    metrics_->NextTokens(now - at->second);
    at->second = now;
  }

  const std::shared_ptr<EventQueue> queue_;
  const size_t prompt_;
  const absl::Time begin_;
  Metrics* const metrics_;
  std::map<int64_t, absl::Time> last_;  // tokens of each continuation
};

}  // namespace

void EventQueue::Push(RequestEvent event) {
  absl::MutexLock lock(&mutex_);
  events_.push_back(std::move(event));
}

bool EventQueue::Pop(RequestEvent* event, absl::Duration most) {
  absl::MutexLock lock(&mutex_);
  const auto ready = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return !events_.empty(); };
  if (!mutex_.AwaitWithTimeout(absl::Condition(&ready), most)) return false;
  *event = std::move(events_.front());
  events_.pop_front();
  return true;
}

std::shared_ptr<RequestListener> ListenInto(std::shared_ptr<EventQueue> queue, size_t prompt, absl::Time begin,
                                            Metrics* metrics) {
  return std::make_shared<QueueListener>(std::move(queue), prompt, begin, metrics);
}

}  // namespace photon
