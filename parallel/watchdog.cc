#include "parallel/watchdog.h"

#include <algorithm>
#include <cstdio>

#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "core/time.h"

namespace photon {
namespace {

constexpr double kStopped = 2.5;  // looks that a process missed which was stopped, not just late

}  // namespace

Watchdog::Watchdog(std::vector<Communicator*> watched, double timeout_s, Action action,
                   std::unique_ptr<RollCall> roll_call)
    : watched_(std::move(watched)),
      timeout_s_(timeout_s),
      period_s_(std::min(timeout_s / 10, 5.0)),
      action_(std::move(action)),
      roll_call_(std::move(roll_call)) {
  PHOTON_CHECK(timeout_s_ > 0) << timeout_s_ << " s";
  PHOTON_CHECK(!watched_.empty());
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
  absl::SleepFor(absl::Milliseconds(300));  // MPICH's launcher drops what it has not passed on when a rank aborts
  stuck.Abort(1);
}

Communicator* Watchdog::Longest(double* seconds) const {
  Communicator* longest = watched_.back();
  *seconds = longest->SecondsInCall();
  for (Communicator* comm : watched_) {
    if (const double its = comm->SecondsInCall(); its > *seconds) longest = comm, *seconds = its;
  }
  return longest;
}

bool Watchdog::TooLong(double seconds, const RankActivity& activity) {
  double limit = timeout_s_;
  if (roll_call_ != nullptr) {
    roll_call_->Poll(activity);
    const bool late = seconds > timeout_s_ - 4 * period_s_;  // an answer takes two looks on either side at most
    if (late && !roll_call_->asked()) roll_call_->Ask();
    if (!late) roll_call_->Forget();
    if (roll_call_->asked() && roll_call_->LowerWaits()) limit += 2 * period_s_;
  }
  return seconds > limit;
}

std::string Watchdog::Speaker(const Communicator& comm) const {
  const Communicator& job = *watched_.back();
  return absl::StrFormat(
      "photon: %s rank %d of %d%s", job.name(), job.rank(), job.size(),
      comm.size() == job.size() ? "" : absl::StrFormat(" (rank %d of %d in a group)", comm.rank(), comm.size()));
}

void Watchdog::Loop() {
  double looked = Now(), awake = looked;
  while (true) {
    {
      absl::MutexLock lock(&mutex_);
      if (mutex_.AwaitWithTimeout(absl::Condition(&stop_), absl::Seconds(period_s_))) return;
    }
    // A process that was stopped counts a call's time from when it goes on: the others didn't keep it waiting.
    const double now = Now();
    if (now - looked > kStopped * period_s_) awake = now;
    looked = now;
    for (Communicator* comm : watched_) {
      if (const absl::Status late = comm->LateError(); !late.ok()) {
        action_(*comm,
                absl::StrFormat("%s: %s. Its last calls:\n%s", Speaker(*comm), late.message(), comm->RecentCalls()));
        return;
      }
    }
    double seconds = 0;
    Communicator* comm = Longest(&seconds);
    const RankActivity activity = {seconds > 0, comm->LastCall()};
    seconds = std::min(seconds, now - awake);
    if (!TooLong(seconds, activity)) continue;
    const std::string others =
        roll_call_ == nullptr ? "another rank is gone or calls something else" : roll_call_->Findings(activity);
    action_(*comm, absl::StrFormat("%s has waited %.1f s in one collective (limit %g s): %s. Its last calls:\n%s",
                                   Speaker(*comm), seconds, timeout_s_, others, comm->RecentCalls()));
    return;
  }
}

}  // namespace photon
