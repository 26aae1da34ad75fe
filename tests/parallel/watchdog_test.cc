#include "parallel/watchdog.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <string>
#include <vector>

#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "tests/parallel/threads.h"

namespace photon::testing {
namespace {

using ::testing::HasSubstr;

TEST(WatchdogTest, NamesRankCollectiveAndTensor) {
  absl::Notification barked;
  std::string report;
  OnThreads(2, [&](Communicator& comm) {
    EXPECT_EQ(comm.Barrier("start"), absl::OkStatus());
    std::vector<float> values(100);
    const Tensor tensor = Tensor::Wrap(values.data(), {100}, DType::kF32);
    if (comm.rank() == 1) {  // holds back until rank 0's watchdog has spoken
      barked.WaitForNotification();
      EXPECT_EQ(comm.AllReduce("gradients", tensor, Reduction::kSum), absl::OkStatus());
      return;
    }
    Watchdog watchdog({&comm}, 0.2, [&](Communicator& stuck, const std::string& text) {
      EXPECT_EQ(&stuck, &comm);
      EXPECT_GT(comm.SecondsInCall(), 0.2);
      report = text;
      barked.Notify();
    });
    EXPECT_EQ(comm.AllReduce("gradients", tensor, Reduction::kSum), absl::OkStatus());
  });
  EXPECT_THAT(report, HasSubstr("threads rank 0 of 2 has waited "));
  EXPECT_THAT(report, HasSubstr("#1 barrier start done\n#2 all-reduce gradients f32[100] running for "));
}

TEST(WatchdogTest, IsQuietWhileCallsEnd) {
  OnThreads(2, [](Communicator& comm) {
    // A timeout that a barrier keeps on a crowded machine too.
    Watchdog watchdog({&comm}, 2.0, [](Communicator&, const std::string& report) { ADD_FAILURE() << report; });
    // Together longer than the timeout; each alone far shorter. Time between calls does not count either.
    for (int i = 0; i < 25; ++i) {
      EXPECT_EQ(comm.Barrier("step"), absl::OkStatus());
      absl::SleepFor(absl::Milliseconds(20));
      if (i == 10) absl::SleepFor(absl::Seconds(2.5));
    }
  });
}

TEST(WatchdogDeathTest, AbortsTheJob) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(OnThreads(2,
                        [](Communicator& comm) {
                          Watchdog watchdog({&comm}, 0.1);
                          if (comm.rank() == 0) (void)comm.Barrier("that rank 1 never joins");
                          absl::SleepFor(absl::Seconds(20));
                        }),
              ::testing::ExitedWithCode(1), "rank 0 of 2 .*barrier that rank 1 never joins running");
}

// Stops the whole process for so long; runs in another one.
void StopFor(absl::Duration time) {
  const pid_t process = getpid();
  const pid_t other = fork();
  PHOTON_CHECK(other >= 0);
  if (other == 0) {
    kill(process, SIGSTOP);
    absl::SleepFor(time);
    kill(process, SIGCONT);
    _exit(0);
  }
  waitpid(other, nullptr, 0);
}

TEST(WatchdogDeathTest, TimeInWhichTheProcessWasStoppedDoesNotCount) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const auto stopped_in_a_call = [] {
    OnThreads(2, [](Communicator& comm) {
      Watchdog watchdog({&comm}, 1.0);
      if (comm.rank() == 1) {
        StopFor(absl::Seconds(2));
        absl::SleepFor(absl::Seconds(0.4));  // looks, while rank 0 has waited longer than allowed by the clock
      }
      EXPECT_EQ(comm.Barrier("around the stop"), absl::OkStatus());
    });
    std::exit(::testing::Test::HasFailure() ? 2 : 0);
  };
  EXPECT_EXIT(stopped_in_a_call(), ::testing::ExitedWithCode(0), "");
}

}  // namespace
}  // namespace photon::testing
