#include "train/run_lock.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <optional>
#include <thread>

#include "absl/strings/str_cat.h"
#include "tests/support/temporary_folder.h"

namespace photon {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using testing::TemporaryFolder;

TEST(RunLock, KeepsASecondOneOutAndNamesTheHolder) {
  const TemporaryFolder folder;
  std::optional<RunLock> held = *RunLock::Take(folder / "", 0, "--out");
  const absl::Status refused = RunLock::Take(folder / "", 0, "--out").status();
  EXPECT_EQ(refused.code(), absl::StatusCode::kAlreadyExists);
  EXPECT_THAT(refused.message(),
              AllOf(HasSubstr("another process trains in run_dir"), HasSubstr(folder / ""),
                    HasSubstr(absl::StrCat("process ", getpid(), " on ")), HasSubstr("another folder with --out")));
  const RunLock moved = *std::move(held);
  held.reset();
  EXPECT_FALSE(RunLock::Take(folder / "", 0, "--out").ok()) << "one that was moved is still held";
}

TEST(RunLock, WaitsForOneThatEnds) {
  const TemporaryFolder folder;
  std::optional<RunLock> held = *RunLock::Take(folder / "", 0, "--out");
  std::thread ends([&held] {
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
    held.reset();
  });
  EXPECT_TRUE(RunLock::Take(folder / "", 60, "--out").ok());
  ends.join();
}

TEST(RunLock, AFolderThatIsNotThereIsNamed) {
  const TemporaryFolder folder;
  EXPECT_THAT(RunLock::Take(folder / "absent", 0, "--out").status().message(), HasSubstr("absent/lock"));
}

}  // namespace
}  // namespace photon
