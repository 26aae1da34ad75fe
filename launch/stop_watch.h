// SIGTERM and SIGINT for a server: the first asks it to drain, the second ends it, a third ends the process.
#pragma once

#include <csignal>
#include <thread>

#include "absl/synchronization/mutex.h"
#include "inference/server/server.h"

namespace photon {

class StopWatch {
 public:
  // Blocks the two signals in this thread and in those it makes from now on, and waits for them in one of its own. So
  // it comes before all threads. As long as there is no server, a signal ends the process with exit code 0.
  StopWatch();
  ~StopWatch();
  StopWatch(const StopWatch&) = delete;
  StopWatch& operator=(const StopWatch&) = delete;

  void Watch(Server* server);  // null: none any more

 private:
  void Wait(sigset_t signals);
  void OnSignal();

  absl::Mutex mutex_;
  Server* server_ ABSL_GUARDED_BY(mutex_) = nullptr;
  int received_ ABSL_GUARDED_BY(mutex_) = 0;
  bool over_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread waiting_;
};

}  // namespace photon
