// Saves behind the training: what is saved is the state of the step that asked, training is not disturbed, whatever
// fails.
#include <gmock/gmock.h>

#include "checkpoint/manifest.h"
#include "tests/support/faulty_file_system.h"
#include "tests/train/training_run.h"

namespace photon {
namespace {

using namespace photon::testing;
using Fault = FaultyFileSystem::Fault;
using ::testing::AllOf;
using ::testing::HasSubstr;
namespace fs = std::filesystem;

class BackgroundSaveTest : public ::testing::Test {
 protected:
  void ExpectGood(const std::string& dir) {
    const auto reader = CheckpointReader::Open(dir);
    ASSERT_TRUE(reader.ok()) << reader.status();
    const absl::Status verified = reader->Verify(*SelfCommunicator(), "");
    EXPECT_TRUE(verified.ok()) << verified;
  }

  const TemporaryFolder folder_;
  const std::shared_ptr<const TokenFile> tokens_ = WriteTokens(folder_ / "tokens");
  const RunConfig config_ = TinyRun(folder_ / "run");
};

TEST_F(BackgroundSaveTest, HoldsTheStateOfItsStepAndDisturbsNothing) {
  for (const int ranks : {1, 2, 3}) {
    SCOPED_TRACE(ranks);
    RunConfig config = TinyRun(folder_ / "beside" + std::to_string(ranks));
    RunConfig waits = TinyRun(folder_ / "waits" + std::to_string(ranks));
    const Outcome straight = TrainSteps(ranks, config, tokens_, 9);
    const Outcome beside = Train(ranks, config, tokens_, [](RankRun& run, int) -> absl::Status {
      PHOTON_RETURN_IF_ERROR(run.TrainTo(3));
      absl::Status saved;
      PHOTON_RETURN_IF_ERROR(run.SaveBeside(9, &saved));
      return saved;
    });
    ExpectSameBits(beside, straight);
    Train(ranks, waits, tokens_, [](RankRun& run, int) -> absl::Status {
      PHOTON_RETURN_IF_ERROR(run.TrainTo(3));
      return run.Save();
    });
    int compared = 0;
    for (const auto& entry : fs::directory_iterator(CheckpointDir(waits.run_dir(), 3))) {
      if (entry.path().extension() != ".h5") continue;
      ++compared;
      const std::string name = "/checkpoints/step-00000003/" + entry.path().filename().string();
      EXPECT_TRUE(folder_.Read("beside" + std::to_string(ranks) + name) ==
                  folder_.Read("waits" + std::to_string(ranks) + name))
          << name;
    }
    EXPECT_EQ(compared, 2 * ranks + 1);
    EXPECT_EQ(fs::read_symlink(config.run_dir() + "/checkpoints/latest"), "step-00000003");
  }
}

// Every call of the writing thread fails in its turn, or is the first that finds the disk full. Training ends with the
// very bits of the undisturbed run, there is a whole checkpoint at every moment, the failure is named, and the next
// save works.
TEST_F(BackgroundSaveTest, WhicheverCallFailsTrainingGoesOn) {
  const Outcome straight = TrainSteps(1, config_, tokens_, 5);
  for (const Fault fault : {Fault::kNoSpace, Fault::kIoError, Fault::kDiskFull}) {
    int64_t k = 0, failures = 0;
    for (bool more = true; more && !HasFailure(); ++k) {
      SCOPED_TRACE(::testing::Message() << "call " << k);
      const TemporaryFolder folder;
      fs::create_directory(folder / "graveyard");
      FaultyFileSystem files(folder / "graveyard");
      RunConfig config = TinyRun(folder / "run");
      config.mutable_checkpoint()->set_keep_last(1);
      absl::Status saved;
      const std::vector<absl::Status> trained = OnTrainingRanks(
          1, config, tokens_,
          [&](RankRun& run, int) -> absl::Status {
            PHOTON_RETURN_IF_ERROR(run.TrainTo(1));
            PHOTON_RETURN_IF_ERROR(run.Save());
            PHOTON_RETURN_IF_ERROR(run.TrainTo(2));
            files.Arm(fault, k);
            PHOTON_RETURN_IF_ERROR(run.SaveBeside(4, &saved));
            more = files.hit();
            files.Restart();
            if (saved.ok()) {  // no call failed, or one of tidying up after the checkpoint was on disk
              EXPECT_EQ(ListCheckpoints(config.run_dir()).front(), CheckpointDir(config.run_dir(), 2));
            } else {
              ++failures;
              EXPECT_TRUE(more) << saved;
              EXPECT_EQ(saved.code(),
                        fault == Fault::kIoError ? absl::StatusCode::kDataLoss : absl::StatusCode::kResourceExhausted)
                  << saved;
              EXPECT_THAT(std::string(saved.message()), HasSubstr(config.run_dir() + "/checkpoints"));
              EXPECT_THAT(std::string(saved.message()),
                          HasSubstr(fault == Fault::kIoError ? "Input/output error" : "No space left on device"));
            }
            for (const std::string& dir : ListCheckpoints(config.run_dir())) ExpectGood(dir);
            EXPECT_FALSE(ListCheckpoints(config.run_dir()).empty());
            PHOTON_RETURN_IF_ERROR(run.SaveBeside(5, &saved));
            EXPECT_TRUE(saved.ok()) << saved;
            ExpectSameBits(run.Result(), straight);
            return absl::OkStatus();
          },
          files);
      EXPECT_TRUE(trained[0].ok()) << trained[0];
      EXPECT_THAT(ListCheckpoints(config.run_dir()), ::testing::ElementsAre(CheckpointDir(config.run_dir(), 4)));
      ExpectGood(CheckpointDir(config.run_dir(), 4));
    }
    EXPECT_GT(k, 25);
    // The calls up to the checkpoint's name: five files, the folder, and their flushing. What comes later is tidying
    // up.
    EXPECT_GT(failures, 10) << "of " << k;
  }
}

TEST_F(BackgroundSaveTest, AFailureIsToldToAllRanks) {
  fs::create_directory(folder_ / "graveyard");
  FaultyFileSystem files(folder_ / "graveyard");
  std::atomic<int> told = 0;
  const auto trained = OnTrainingRanks(
      3, config_, tokens_,
      [&](RankRun& run, int rank) -> absl::Status {
        PHOTON_RETURN_IF_ERROR(run.TrainTo(1));
        PHOTON_RETURN_IF_ERROR(run.Save());
        if (rank == 0) files.Arm(Fault::kNoSpace, 12);  // in the middle of somebody's files
        absl::Status saved;
        PHOTON_RETURN_IF_ERROR(run.TrainTo(2));  // a collective: the fault is armed for all
        PHOTON_RETURN_IF_ERROR(run.SaveBeside(3, &saved));
        EXPECT_EQ(saved.code(), absl::StatusCode::kResourceExhausted) << saved;
        EXPECT_THAT(std::string(saved.message()), HasSubstr("step-00000002.tmp/"));
        ++told;
        return absl::OkStatus();
      },
      files);
  for (const absl::Status& status : trained) EXPECT_TRUE(status.ok()) << status;
  EXPECT_EQ(told, 3);
  EXPECT_FALSE(fs::exists(CheckpointDir(config_.run_dir(), 2) + ".tmp"));
}

TEST_F(BackgroundSaveTest, OneThatIsNeverFinishedIsIgnored) {
  const auto trained = OnTrainingRanks(2, config_, tokens_, [](RankRun& run, int) -> absl::Status {
    PHOTON_RETURN_IF_ERROR(run.TrainTo(1));
    PHOTON_RETURN_IF_ERROR(run.Save());
    PHOTON_RETURN_IF_ERROR(run.TrainTo(2));
    PHOTON_RETURN_IF_ERROR(run.checkpoints().PrepareAsync().status());
    return run.checkpoints().BeginSave(run.trainer().state());  // and the run ends
  });
  for (const absl::Status& status : trained) EXPECT_TRUE(status.ok()) << status;
  EXPECT_TRUE(fs::exists(CheckpointDir(config_.run_dir(), 2) + ".tmp"));
  EXPECT_THAT(ListCheckpoints(config_.run_dir()), ::testing::ElementsAre(CheckpointDir(config_.run_dir(), 1)));
}

TEST(Snapshot, MemoryThatIsNotThereIsRefused) {
  char byte = 0;
  const Shape huge{int64_t{1} << 44};
  const std::vector<TensorPart> parts = {
      {"model", "huge", huge, Region{{0}, huge}, Tensor::Wrap(&byte, huge, DType::kF32)}};
  Snapshot snapshot;
  const absl::Status reserved = snapshot.Reserve(parts, *SelfCommunicator());
  EXPECT_EQ(reserved.code(), absl::StatusCode::kResourceExhausted) << reserved;
  EXPECT_THAT(std::string(reserved.message()), HasSubstr("70.4 TB"));
}

// Two ranks of 6 MB each: there is room for either, and not for both.
TEST(Snapshot, RanksOfAMachineAddUpWhatTheyNeed) {
  std::vector<char> bytes(6'000'000, 'x');
  const Shape shape{6'000'000};
  const std::vector<TensorPart> parts = {
      {"model", "w", shape, Region{{0}, shape}, Tensor::Wrap(bytes.data(), shape, DType::kU8)}};
  const auto reserve = [&](int64_t available) {
    const std::vector<std::unique_ptr<Communicator>> comms = ThreadCommunicators(2);
    std::vector<absl::Status> statuses(2);
    std::vector<std::thread> threads;
    for (int r = 0; r < 2; ++r) {
      threads.emplace_back([&, r] {
        Snapshot snapshot;
        statuses[r] = snapshot.Reserve(parts, *comms[r], available);
        EXPECT_EQ(snapshot.bytes() > 0, statuses[r].ok());
      });
    }
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(statuses[0].code(), statuses[1].code());
    return statuses[0];
  };
  const absl::Status refused = reserve(10'000'000);
  EXPECT_EQ(refused.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(refused.message()), AllOf(HasSubstr("needs 12.0 MB"), HasSubstr("10.0 MB are available")));
  EXPECT_TRUE(reserve(12'100'000).ok()) << "12 MB in whole pages";
  EXPECT_TRUE(reserve(-1).ok()) << "unknown";
}

// A run that never saves before its end takes no memory for copies.
TEST_F(BackgroundSaveTest, MemoryIsTakenAtTheFirstSaveThatNeedsIt) {
  RunConfig config = config_;
  config.mutable_checkpoint()->set_every(0);  // as where early stop or a signal asks for saves before the last
  ::testing::internal::CaptureStdout();
  const auto trained = OnTrainingRanks(2, config, tokens_, [](RankRun& run, int) -> absl::Status {
    PHOTON_RETURN_IF_ERROR(run.TrainTo(1));
    PHOTON_RETURN_IF_ERROR(run.Save());
    PHOTON_RETURN_IF_ERROR(run.TrainTo(2));
    absl::Status saved;
    PHOTON_RETURN_IF_ERROR(run.SaveBeside(3, &saved));
    PHOTON_RETURN_IF_ERROR(saved);
    return run.SaveBeside(4, &saved);
  });
  for (const absl::Status& status : trained) EXPECT_TRUE(status.ok()) << status;
  const std::string said = ::testing::internal::GetCapturedStdout();
  const size_t taken = said.find("written behind the training");
  EXPECT_GT(taken, said.find("step-00000001 in")) << said;
  EXPECT_EQ(taken, said.rfind("written behind the training")) << "once\n" << said;
  EXPECT_LT(taken, said.size()) << said;
  ExpectGood(CheckpointDir(config.run_dir(), 3));
}

}  // namespace
}  // namespace photon
