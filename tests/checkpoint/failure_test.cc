// Saves that fail or are killed: nothing half-written survives as if whole, HDF5 stays usable, the process ends
// normally.
#include <gmock/gmock.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>

#include "tests/checkpoint/fixtures.h"
#include "tests/support/child_process.h"

namespace photon {
namespace {

using namespace photon::testing;
using ::testing::AllOf;
using ::testing::HasSubstr;

std::vector<SampleTensor> LargerTensors() {
  return {{"model", "big", Shape{300, 301}},
          {"model", "small", Shape{3, 3}},
          {"optimizer", "optimizer.m.big", Shape{300, 301}}};
}

// The limit hits the first metadata, raw data, a later file, or only the manifest's neighbours: all must fail alike.
class DiskFull : public ::testing::TestWithParam<int> {};

TEST_P(DiskFull, LeavesThePreviousCheckpointAndTheProcess) {
  const rlim_t limit = GetParam();
  TemporaryFolder folder;
  WriteSample(CheckpointDir(folder.path(), 1));
  ASSERT_TRUE(PublishCheckpoint(folder.path(), 1, 2).ok());
  const int code = InChild([&] {
    LimitFileSize(limit);
    const std::string dir = CheckpointDir(folder.path(), 2);
    for (int attempt = 0; attempt < 2; ++attempt) {  // HDF5 must be usable after the first failure
      const auto statuses =
          OnRanks(2, [&](Communicator& comm) { return WriteSample(comm, dir, Layout::kRows, 2, LargerTensors()); });
      for (const absl::Status& status : statuses) {
        if (status.code() != absl::StatusCode::kResourceExhausted)
          return fprintf(stderr, "%s\n", status.ToString().c_str()), 2;
        if (status.message().find("step-00000002.tmp/") == absl::string_view::npos) return 3;
      }
      if (std::filesystem::exists(dir) || std::filesystem::exists(dir + ".tmp")) return 4;
    }
    LimitFileSize(RLIM_INFINITY);  // room again: the run goes on and saves
    const auto statuses = OnRanks(2, [&](Communicator& comm) { return WriteSample(comm, dir, Layout::kRows, 2); });
    return statuses[0].ok() && statuses[1].ok() ? 0 : 5;
  });
  EXPECT_EQ(code, 0);
  ExpectSample(CheckpointDir(folder.path(), 1));
  ExpectSample(CheckpointDir(folder.path(), 2));
  EXPECT_EQ(*ResolveCheckpoint(folder.path()), CheckpointDir(folder.path(), 1));
}

INSTANTIATE_TEST_SUITE_P(Limits, DiskFull, ::testing::Values(0, 1, 100, 1000, 2049, 4096, 66000, 100000, 150000));

TEST(Failure, ReSaveThatFailsLeavesTheOldOne) {
  TemporaryFolder folder;
  const std::string dir = CheckpointDir(folder.path(), 1);
  WriteSample(dir);
  EXPECT_EQ(InChild([&] {
              LimitFileSize(20000);
              const absl::Status status = WriteSample(*SelfCommunicator(), dir, Layout::kRows, 2, LargerTensors());
              return status.code() == absl::StatusCode::kResourceExhausted ? 0 : 2;
            }),
            0);
  ExpectSample(dir);
  EXPECT_EQ(CheckpointReader::Open(dir)->manifest().state().step(), 1);
}

TEST(Failure, FolderThatCannotBeWritten) {
  TemporaryFolder folder;
  Spill(folder / "file", "in the way");
  const absl::Status status = WriteSample(*SelfCommunicator(), folder / "file/step-00000001", Layout::kRows, 1);
  EXPECT_FALSE(status.ok());
  EXPECT_THAT(std::string(status.message()), HasSubstr(folder / "file"));
  namespace fs = std::filesystem;
  fs::permissions(folder.path(),
                  fs::perms::owner_read | fs::perms::owner_exec | fs::perms::others_read | fs::perms::others_exec);
  EXPECT_EQ(InChild([&] {
              if (geteuid() == 0 && seteuid(65534) != 0) return 3;  // root may write anywhere
              const absl::Status refused = WriteSample(*SelfCommunicator(), folder / "step-00000001", Layout::kRows, 1);
              return refused.code() == absl::StatusCode::kPermissionDenied ? 0 : 2;
            }),
            0);
  fs::permissions(folder.path(), fs::perms::owner_all);
}

TEST(Failure, KilledAtAnyMomentLeavesWholeOnesOrNone) {
  TemporaryFolder folder;
  const std::string& run = folder.path();
  WriteSample(CheckpointDir(run, 1));
  ASSERT_TRUE(PublishCheckpoint(run, 1, 2).ok());
  int killed_midway = 0;
  for (int round = 0; round < 12; ++round) {
    const pid_t child = fork();
    if (child == 0) {
      for (int64_t step = 2;; ++step) {  // saves without end, re-saving what is there
        const std::string dir = CheckpointDir(run, 2 + step % 2);
        for (const absl::Status& status :
             OnRanks(2, [&](Communicator& comm) { return WriteSample(comm, dir, Layout::kFlat, step); })) {
          if (!status.ok()) _exit(1);
        }
      }
    }
    std::this_thread::sleep_for(std::chrono::microseconds(9000 + 3137 * round));
    kill(child, SIGKILL);
    int state = 0;
    waitpid(child, &state, 0);
    ASSERT_TRUE(WIFSIGNALED(state)) << "the child failed by itself";
    for (const std::string& dir : ListCheckpoints(run)) ExpectSample(dir);
    for (const std::string& name : FilesIn(run + "/checkpoints"))
      killed_midway += name.find(".tmp") != std::string::npos;
  }
  EXPECT_GT(killed_midway, 0) << "no kill hit a save: the test shows nothing";
  ASSERT_TRUE(PublishCheckpoint(run, 1, 0).ok());
  for (const std::string& name : FilesIn(run + "/checkpoints")) EXPECT_EQ(name.find('.'), std::string::npos) << name;
}

}  // namespace
}  // namespace photon
