#include "parallel/watchdog.h"

#include <algorithm>
#include <cstdio>

#include "absl/strings/str_format.h"
#include "absl/time/time.h"

namespace photon {

Watchdog::Watchdog(std::vector<Communicator*> watched, double timeout_s, Action action)
    : watched_(std::move(watched)), timeout_s_(timeout_s), action_(std::move(action)) {
  PHOTON_CHECK(timeout_s_ > 0) << timeout_s_ << " s";
  thread_ = std::thread([this] { Loop(); });
}

Watchdog::~Watchdog() {
  {
    absl::MutexLock lock(&mutex_);
    stop_ = true;
  }
  thread_.join();
}

void Watchdog::AbortJob(Communicator& stuck, const std::string& report) {
  std::fputs(report.c_str(), stderr);
  stuck.Abort(1);
}

void Watchdog::Loop() {
  const absl::Duration period = absl::Seconds(std::min(timeout_s_ / 8, 5.0));
  while (true) {
    {
      absl::MutexLock lock(&mutex_);
      if (mutex_.AwaitWithTimeout(absl::Condition(&stop_), period)) return;
    }
    for (Communicator* comm : watched_) {
      if (const absl::Status late = comm->LateError(); !late.ok()) {
        action_(*comm, absl::StrFormat("photon: %s rank %d of %d: %s. Its last calls:\n%s", comm->name(), comm->rank(),
                                       comm->size(), late.message(), comm->RecentCalls()));
        return;
      }
      const double seconds = comm->SecondsInCall();
      if (seconds <= timeout_s_) continue;
      action_(*comm,
              absl::StrFormat("photon: %s rank %d of %d has waited %.1f s in one collective (limit %g s): "
                              "another rank is gone or calls something else. Its last calls:\n%s",
                              comm->name(), comm->rank(), comm->size(), seconds, timeout_s_, comm->RecentCalls()));
      return;
    }
  }
}

}  // namespace photon
