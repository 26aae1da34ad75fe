#include "launch/stop_watch.h"

#include <pthread.h>

#include <cstdlib>
#include <iostream>

namespace photon {

StopWatch::StopWatch() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  waiting_ = std::thread([this, signals] { Wait(signals); });
}

StopWatch::~StopWatch() {
  {
    absl::MutexLock lock(&mutex_);
    over_ = true;
  }
  waiting_.join();
}

void StopWatch::Watch(Server* server) {
  absl::MutexLock lock(&mutex_);
  server_ = server;
}

void StopWatch::Wait(sigset_t signals) {
  constexpr timespec kLookEvery{0, 100'000'000};
  for (;;) {
    if (sigtimedwait(&signals, nullptr, &kLookEvery) > 0) OnSignal();
    absl::MutexLock lock(&mutex_);
    if (over_) return;
  }
}

void StopWatch::OnSignal() {
  absl::MutexLock lock(&mutex_);
  ++received_;
  if (server_ == nullptr || received_ > 2) std::_Exit(0);
  if (received_ == 1) {
    std::cerr << "stopping: running requests are finished, new ones refused; once more ends it at once\n" << std::flush;
    server_->Drain();
  } else {
    server_->End();
  }
}

}  // namespace photon
