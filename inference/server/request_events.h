// What the engine's thread tells of a request, for the connection's thread to wait on.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "inference/engine/request.h"
#include "inference/server/metrics.h"

namespace photon {

struct RequestEvent {
  enum class Kind { kStart, kTokens, kFinish, kEnd };
  Kind kind;
  size_t prompt = 0;  // several prompts of one request share a queue
  int64_t continuation = 0;
  int64_t reused = 0;                // kStart
  std::vector<int32_t> tokens = {};  // kTokens
  std::vector<Choice> choices = {};
  std::string text = {};
  Continuation result = {};  // kFinish
  absl::Status status = {};  // kEnd
};

// Any thread.
class EventQueue {
 public:
  void Push(RequestEvent event);
  // False where none came in time.
  bool Pop(RequestEvent* event, absl::Duration most);

 private:
  absl::Mutex mutex_;
  std::deque<RequestEvent> events_ ABSL_GUARDED_BY(mutex_);
};

// `metrics` outlives it; `begin`: when the request came.
std::shared_ptr<RequestListener> ListenInto(std::shared_ptr<EventQueue> queue, size_t prompt, absl::Time begin,
                                            Metrics* metrics);

}  // namespace photon
