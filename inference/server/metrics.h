// What the server counts, and Prometheus's text of it and of the engine's own figures. Any thread.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <string>

#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "inference/engine/engine.h"
#include "inference/server/histogram.h"

namespace photon {

// How much a count grew a second, of late.
class Rate {
 public:
  // Times must not go back.
  void Observe(absl::Time now, int64_t total);
  double PerSecond(absl::Time now) const;

 private:
  struct Sample {
    absl::Time time;
    int64_t total;
  };
  std::deque<Sample> samples_;  // one in kSpacing, of the last kWindow; the newest as it was last
};

class Metrics {
 public:
  void FirstTokens(absl::Duration after);  // since the request came
  void NextTokens(absl::Duration after);   // since the last of the continuation
  void Answered(absl::Duration after);     // a completion, at its end
  void Responded(int status);
  void Stepped(absl::Time now, int64_t generated_tokens);  // in all, so far

  std::string Text(const EngineStats& engine, int64_t connections, absl::Time now) const;

 private:
  mutable absl::Mutex mutex_;
  Histogram first_tokens_ ABSL_GUARDED_BY(mutex_),
      next_tokens_ ABSL_GUARDED_BY(mutex_), answers_ ABSL_GUARDED_BY(mutex_);
  std::map<int, int64_t> responses_ ABSL_GUARDED_BY(mutex_);
  Rate generated_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace photon
