#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <latch>
#include <thread>

#include "parallel/communicator.h"
#include "tests/parallel/collective_checks.h"
#include "tests/support/temporary_folder.h"

namespace photon::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

// body(communicator) on `ranks` ranks that meet in a folder; threads do as well as processes.
template <typename Body>
void InFolder(int ranks, const Body& body) {
  const TemporaryFolder folder;
  std::vector<std::thread> threads;
  for (int r = 0; r < ranks; ++r) {
    threads.emplace_back([&, r] {
      auto comm = FileWorld({.folder = folder.path(),
                             .job = "test",
                             .rank = r,
                             .size = ranks,
                             .timeout_s = 30,
                             .network_interface = "lo"});
      ASSERT_TRUE(comm.ok()) << comm.status();
      body(**comm);
      EXPECT_EQ((*comm)->Barrier("end"), absl::OkStatus());
    });
  }
  for (std::thread& thread : threads) thread.join();
}

using Check = void (*)(Communicator&);

TEST(FileWorld, DoesWhatEveryCommunicatorMust) {
  for (int ranks : {1, 2, 3}) {
    InFolder(ranks, [](Communicator& comm) {
      for (Check check : {CheckAllReduce, CheckAllReduceNan, CheckGatherAndScatter, CheckBroadcast, CheckArguments,
                          CheckSplit, CheckSmallValues, CheckMesh, CheckMeshGroups, CheckBytesSent, CheckSideChannel}) {
        check(comm);
      }
      if (comm.size() == 1) return;
      CheckSendReceive(comm);
      CheckPosts(comm);
      CheckMessageOfWrongSize(comm);
    });
  }
}

TEST(FileWorld, ARankThatLeavesIsAnErrorForThoseThatWait) {
  const TemporaryFolder folder;
  std::latch connected(2);  // who leaves before the other is through with it breaks the meeting instead
  std::vector<std::thread> threads;
  for (int r = 0; r < 2; ++r) {
    threads.emplace_back([&, r] {
      auto comm = FileWorld(
          {.folder = folder.path(), .job = "test", .rank = r, .size = 2, .timeout_s = 30, .network_interface = "lo"});
      connected.arrive_and_wait();
      ASSERT_TRUE(comm.ok()) << comm.status();
      if (r == 1) return;
      const absl::Status status = (*comm)->Barrier("step 7");
      EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
      EXPECT_THAT(status.message(), HasSubstr("tcp rank 0 of 2: barrier step 7: lost rank 1: "));
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST(FileWorld, SaysWhoMissesAndWhere) {
  const TemporaryFolder folder;
  const auto comm = FileWorld(
      {.folder = folder.path(), .job = "12-0", .rank = 1, .size = 2, .timeout_s = 0.2, .network_interface = "lo"});
  EXPECT_EQ(comm.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(comm.status().message(),
              AllOf(HasSubstr("rank 1 of 2"), HasSubstr("rank(s) 0"), HasSubstr(folder.path()), HasSubstr("12-0")));
  // A name serves once.
  const auto again = FileWorld(
      {.folder = folder.path(), .job = "12-0", .rank = 1, .size = 2, .timeout_s = 0.2, .network_interface = "lo"});
  EXPECT_EQ(again.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(again.status().message(), AllOf(HasSubstr("wants another name (PHOTON_JOB)"), HasSubstr("12-0")));
  EXPECT_EQ(
      FileWorld({.folder = folder.path(), .job = "x", .rank = 2, .size = 2, .network_interface = ""}).status().code(),
      absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace photon::testing
