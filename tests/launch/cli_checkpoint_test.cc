// photon checkpoint on whole and damaged checkpoints.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "checkpoint/store.h"
#include "configs/config.h"
#include "tests/launch/process.h"
#include "tests/support/tensors.h"

namespace photon {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using testing::Outcome;
using testing::RunPhoton;

class CheckpointCommand : public ::testing::Test {
 protected:
  void SetUp() override {
    run_ = absl::StrCat(::testing::TempDir(), "/photon-cli-run-", getpid());
    fs::remove_all(run_);
    CheckpointContents contents;
    contents.config = Resolved(*ParseRunConfig("model { layers: 1 } data { train: \"text\" }", "test"), 1);
    contents.state.set_step(7);
    contents.parts.push_back({"model", "lm_head.weight", {3, 5}, {{0, 0}, {3, 5}},
                              testing::RandomTensor(context_, {3, 5}, DType::kF32, 1)});
    fs::create_directories(fs::path(run_) / "checkpoints");
    const std::unique_ptr<Communicator> self = SelfCommunicator();
    ASSERT_TRUE(WriteCheckpoint(*self, CheckpointDir(run_, 7), contents).ok());
    ASSERT_TRUE(PublishCheckpoint(run_, 7, 0).ok());
  }
  void TearDown() override { fs::remove_all(run_); }

  testing::TestContext context_;
  std::string run_;
};

TEST_F(CheckpointCommand, InspectShowsWhatIsInside) {
  const Outcome outcome = RunPhoton("checkpoint inspect --tensors --config --checkpoint " + run_);
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("step        7 "));
  EXPECT_THAT(outcome.out, HasSubstr("parameters  15\n"));
  EXPECT_THAT(outcome.out, HasSubstr("lm_head.weight  f32   [3, 5]  1 shard\n"));
  EXPECT_THAT(outcome.out, HasSubstr("train: \"text\""));
}

TEST_F(CheckpointCommand, VerifyTakesARunOrACheckpoint) {
  for (const std::string& path : {run_, CheckpointDir(run_, 7), run_ + "/checkpoints/latest"}) {
    const Outcome outcome = RunPhoton("checkpoint verify --checkpoint " + path);
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
    EXPECT_THAT(outcome.out, HasSubstr("every checksum matches"));
  }
}

TEST_F(CheckpointCommand, OneFlippedBitAnywhereIsRefused) {
  for (const fs::directory_entry& entry : fs::directory_iterator(CheckpointDir(run_, 7))) {
    std::fstream file(entry.path(), std::ios::in | std::ios::out | std::ios::binary);
    const auto middle = static_cast<std::streamoff>(fs::file_size(entry.path()) / 2);
    file.seekg(middle);
    const char byte = static_cast<char>(file.get());
    const auto write = [&](char value) {
      file.seekp(middle);
      file.put(value);
      file.flush();
    };
    write(static_cast<char>(byte ^ 1));
    const Outcome outcome = RunPhoton("checkpoint verify --checkpoint " + run_);
    EXPECT_EQ(outcome.exit_code, 2) << entry.path();
    EXPECT_THAT(outcome.err, HasSubstr("checksum")) << entry.path();
    EXPECT_THAT(outcome.err, HasSubstr(entry.path().filename().string()));
    write(byte);
  }
  EXPECT_EQ(RunPhoton("checkpoint verify --checkpoint " + run_).exit_code, 0);
}

TEST_F(CheckpointCommand, MissingCheckpointNamesTheFolder) {
  const Outcome outcome = RunPhoton("checkpoint inspect --checkpoint " + run_ + "/nothing");
  EXPECT_EQ(outcome.exit_code, 2);
  EXPECT_THAT(outcome.err, HasSubstr(run_ + "/nothing"));
}

}  // namespace
}  // namespace photon
