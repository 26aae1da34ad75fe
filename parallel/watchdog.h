// Ends a job that hangs: a collective that takes too long, or fails after its call returned, is reported, with its
// rank, name and tensor and the calls before it, and the job aborted.
//
// A thread of its own looks at the communicators a few times per timeout; it costs nothing else. Where it is given a
// roll call, it asks the other ranks shortly before the timeout what they are in, and names the one that is missing.
// The communicators must outlive it. Waiting for a slow rank looks like a hang: the timeout has to be longer than any
// rank's longest pause.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "parallel/communicator.h"
#include "parallel/roll_call.h"

namespace photon {

class Watchdog {
 public:
  // Called at most once, on the watchdog's thread.
  using Action = std::function<void(Communicator& stuck, const std::string& report)>;

  // `action`: by default the report goes to stderr and the job ends with code 1. The last of `watched` is the
  // job's: its ranks are the ones that reports name, and its last call tells where a rank is that waits in none. Ranks
  // above the lowest one that waits hold their report back a little: one is enough.
  Watchdog(std::vector<Communicator*> watched, double timeout_s, Action action = AbortJob,
           std::unique_ptr<RollCall> roll_call = nullptr);
  ~Watchdog();
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

  static void AbortJob(Communicator& stuck, const std::string& report);

 private:
  void Loop();
  std::string Speaker(const Communicator& comm) const;  // who reports
  // The communicator whose call takes longest, and for how long.
  Communicator* Longest(double* seconds) const;
  // Whether to report a call that takes so long; asks the others in time.
  bool TooLong(double seconds, const RankActivity& activity);

  const std::vector<Communicator*> watched_;
  const double timeout_s_, period_s_;
  const Action action_;
  const std::unique_ptr<RollCall> roll_call_;
  absl::Mutex mutex_;
  bool stop_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace photon
