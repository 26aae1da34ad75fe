#include "parallel/roll_call.h"

#include <gmock/gmock.h>

#include <thread>

#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "parallel/watchdog.h"
#include "tests/parallel/threads.h"

namespace photon::testing {
namespace {

using ::testing::HasSubstr;

const RankActivity kInGradients = {true, "#3 all-reduce gradients f32[8]"};
const RankActivity kInLoss = {true, "#3 all-reduce loss f32[1]"};
const RankActivity kComputes = {false, "#2 barrier start"};

// Roll calls of as many ranks as `hosts`, all on this thread.
std::vector<std::unique_ptr<RollCall>> RollCalls(const std::vector<std::string>& hosts) {
  static auto& alive = *new std::vector<std::vector<std::unique_ptr<Communicator>>>;
  alive.push_back(ThreadCommunicators(static_cast<int>(hosts.size())));
  std::vector<std::unique_ptr<RollCall>> ranks;
  for (const auto& comm : alive.back()) ranks.push_back(*RollCallOf(*comm, hosts));
  return ranks;
}

TEST(RollCallTest, OneRankAloneNeedsNone) {
  const auto self = SelfCommunicator();
  const auto roll_call = RollCallOf(*self, {"a"});
  ASSERT_EQ(roll_call.status(), absl::OkStatus());
  EXPECT_EQ(*roll_call, nullptr);
}

TEST(RollCallTest, BlamesWhoDoesNotAnswerThenWhoWaitsForNobody) {
  const auto ranks = RollCalls({"a", "a", "b", "b"});
  ranks[1]->Ask();
  ranks[0]->Poll(kInGradients);
  ranks[2]->Poll(kComputes);  // rank 3 never looks
  ranks[1]->Poll(kInGradients);
  EXPECT_EQ(ranks[1]->Findings(kInGradients),
            "rank 3 (b) does not answer: stopped, dead or cut off; "
            "rank 2 (b) waits for nobody; its last call: #2 barrier start; "
            "ranks 0-1 (a) wait in #3 all-reduce gradients f32[8]");
  EXPECT_TRUE(ranks[1]->LowerWaits());
}

TEST(RollCallTest, TellsCollectivesThatDoNotMeet) {
  const auto ranks = RollCalls({"a", "b", "c"});
  ranks[0]->Ask();
  ranks[1]->Poll(kInLoss);
  ranks[2]->Poll(kInGradients);
  ranks[0]->Poll(kInGradients);
  EXPECT_EQ(
      ranks[0]->Findings(kInGradients),
      "ranks 0, 2 (2 hosts) wait in #3 all-reduce gradients f32[8]; rank 1 (b) waits in #3 all-reduce loss f32[1]");
  EXPECT_FALSE(ranks[0]->LowerWaits());
}

TEST(RollCallTest, AsksAnewAfterAHangThatPassed) {
  const auto ranks = RollCalls({"a", "b"});
  ranks[0]->Ask();
  ranks[1]->Poll(kInLoss);
  ranks[0]->Poll(kInGradients);
  ranks[0]->Forget();
  EXPECT_FALSE(ranks[0]->asked());
  ranks[0]->Ask();
  ranks[0]->Poll(kInGradients);
  EXPECT_THAT(ranks[0]->Findings(kInGradients), HasSubstr("rank 1 (b) does not answer"));
}

TEST(RollCallTest, TheWatchdogNamesTheRankThatComputes) {
  absl::Notification barked;
  std::string report;
  OnThreads(3, [&](Communicator& comm) {
    auto roll_call = RollCallOf(comm, {"a", "b", "c"});
    ASSERT_EQ(roll_call.status(), absl::OkStatus());
    Watchdog watchdog(
        {&comm}, 1.0,
        [&](Communicator& stuck, const std::string& text) {
          EXPECT_EQ(stuck.rank(), 0);  // rank 2 waits too, and leaves it to rank 0
          report = text;
          barked.Notify();
        },
        *std::move(roll_call));
    EXPECT_EQ(comm.Barrier("start"), absl::OkStatus());
    if (comm.rank() == 1) barked.WaitForNotification();
    EXPECT_EQ(comm.Barrier("step"), absl::OkStatus());
  });
  EXPECT_THAT(report, HasSubstr("in one collective (limit 1 s): rank 1 (b) waits for nobody; its last call: #1 barrier "
                                "start; ranks 0, 2 (2 hosts) wait in #2 barrier step."));
}

}  // namespace
}  // namespace photon::testing
