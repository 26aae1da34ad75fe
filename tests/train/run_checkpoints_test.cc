// Resuming: to the bit on the same layout, to rounding on another; damaged checkpoints are passed over, never deleted.
#include <gmock/gmock.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <csignal>
#include <fstream>

#include "checkpoint/manifest.h"
#include "tests/support/faulty_file_system.h"
#include "tests/train/training_run.h"
#include "train/early_stop.h"

namespace photon {
namespace {

using namespace photon::testing;
using ::testing::HasSubstr;
namespace fs = std::filesystem;

class RunCheckpointsTest : public ::testing::Test {
 protected:
  // Steps to `last`, then a save.
  void TrainAndSave(int ranks, const RunConfig& config, int64_t last) {
    Train(ranks, config, tokens_, [last](RankRun& run, int) -> absl::Status {
      PHOTON_RETURN_IF_ERROR(run.TrainTo(last));
      return run.Save();
    });
  }
  // Resumes, expecting to do so at `from`, and trains on.
  Outcome ResumeAndTrain(int ranks, const RunConfig& config, int64_t from, int64_t last) {
    return Train(ranks, config, tokens_, [from, last](RankRun& run, int) -> absl::Status {
      PHOTON_ASSIGN_OR_RETURN(const int64_t step, run.Resume());
      EXPECT_EQ(step, from);
      return run.TrainTo(last);
    });
  }
  // Every rank's status of a resume.
  std::vector<absl::Status> Resume(int ranks, const RunConfig& config) {
    return OnTrainingRanks(ranks, config, tokens_, [](RankRun& run, int) { return run.Resume().status(); });
  }
  std::string Checkpoint(int64_t step) const { return CheckpointDir(folder_ / "run", step); }
  static void FlipByte(const std::string& path) {
    std::fstream file(path, std::ios::binary | std::ios::in | std::ios::out);
    file.seekg(fs::file_size(path) / 2);
    const char byte = static_cast<char>(file.get() ^ 0x10);
    file.seekp(fs::file_size(path) / 2);
    file.put(byte);
    ASSERT_TRUE(file.good()) << path;
  }

  const TemporaryFolder folder_;
  const std::shared_ptr<const TokenFile> tokens_ = WriteTokens(folder_ / "tokens");
  const RunConfig config_ = TinyRun(folder_ / "run");
};

TEST_F(RunCheckpointsTest, ResumesToTheBitOnTheSameLayout) {
  for (const int ranks : {1, 2}) {
    for (const char* dtype : {"f32", "bf16"}) {
      SCOPED_TRACE(::testing::Message() << ranks << " ranks " << dtype);
      RunConfig config = TinyRun(folder_ / "run" + dtype + std::to_string(ranks));
      config.mutable_training()->set_dtype(dtype);
      config.mutable_training()->mutable_health()->set_spike_factor(10);  // the running mean is state too
      const Outcome straight = TrainSteps(ranks, config, tokens_, 8);
      TrainAndSave(ranks, config, 4);
      ExpectSameBits(ResumeAndTrain(ranks, config, 4, 8), straight, 4);
    }
  }
}

TEST_F(RunCheckpointsTest, ResumesOnAnotherNumberOfRanks) {
  // Losses of the steps to come are those of the undisturbed run, but for the order of sums. Adam with eps = 0.1 does
  // not amplify rounding: trainer_test.cc has the derivation; the bound there is 4e-5 on parameters after five steps.
  RunConfig config = config_;
  config.mutable_training()->mutable_optimizer()->set_eps(0.1);
  struct Change {
    int before, after;
  };
  for (const auto& [before, after] : {Change{2, 1}, Change{1, 3}, Change{3, 2}}) {
    SCOPED_TRACE(::testing::Message() << before << " -> " << after);
    config.set_run_dir(folder_ / "run" + std::to_string(before));
    const Outcome straight = TrainSteps(before, config, tokens_, 6);
    TrainAndSave(before, config, 3);
    const Outcome resumed = ResumeAndTrain(after, config, 3, 6);
    ASSERT_EQ(resumed.steps.size(), 3u);
    for (int i = 0; i < 3; ++i) {
      const StepMetrics &got = resumed.steps[i], &want = straight.steps[3 + i];
      EXPECT_EQ(got.step, want.step);
      EXPECT_EQ(got.tokens, want.tokens) << "the same data";
      // f32: some 280 roundings' worth, as in trainer_test.cc. Other data would differ by a percent.
      EXPECT_NEAR(got.loss, want.loss, 280 * 0x1p-24 * want.loss);
      EXPECT_NEAR(got.grad_norm, want.grad_norm, 2 * 280 * 0x1p-24 * want.grad_norm);
    }
    EXPECT_EQ(resumed.state.tokens_seen(), straight.state.tokens_seen());
    EXPECT_EQ(resumed.state.updates(), straight.state.updates());
  }
}

TEST_F(RunCheckpointsTest, ParametersAndMomentsAreTheSameOnAnyLayout) {
  TrainAndSave(3, config_, 2);
  const Outcome saved = ResumeAndTrain(3, config_, 2, 2);
  for (const int ranks : {1, 2, 4}) ExpectSameBits(ResumeAndTrain(ranks, config_, 2, 2), saved);
}

TEST_F(RunCheckpointsTest, AFreshRunHasNothingToResume) { EXPECT_EQ(ResumeAndTrain(2, config_, 0, 1).state.step(), 1); }

TEST_F(RunCheckpointsTest, TheSameStateMakesTheSameBytes) {
  RunConfig again = config_;
  again.set_run_dir(folder_ / "again");
  TrainAndSave(2, config_, 2);
  sleep(1);  // a time stamp would differ: HDF5 counts seconds
  TrainAndSave(2, again, 2);
  int compared = 0;
  for (const auto& entry : fs::directory_iterator(Checkpoint(2))) {
    if (entry.path().extension() != ".h5") continue;
    ++compared;
    const std::string name = entry.path().filename();
    EXPECT_EQ(folder_.Read("run/checkpoints/step-00000002/" + name) ==
                  folder_.Read("again/checkpoints/step-00000002/" + name),
              true)
        << name;
  }
  EXPECT_EQ(compared, 5) << "model and optimizer of two ranks, and the index";
}

TEST_F(RunCheckpointsTest, ADamagedNewestIsPassedOver) {
  const Outcome straight = TrainSteps(2, config_, tokens_, 5);
  TrainAndSave(2, config_, 2);
  Train(2, config_, tokens_, [](RankRun& run, int) -> absl::Status {
    PHOTON_RETURN_IF_ERROR(run.Resume().status());
    PHOTON_RETURN_IF_ERROR(run.TrainTo(4));
    return run.Save();
  });
  FlipByte(Checkpoint(4) + "/optimizer-00001-of-00002.h5");
  ::testing::internal::CaptureStdout();
  const Outcome resumed = ResumeAndTrain(2, config_, 2, 5);
  const std::string said = ::testing::internal::GetCapturedStdout();
  EXPECT_THAT(said, HasSubstr("checksum"));
  EXPECT_THAT(said, HasSubstr("step-00000004/optimizer-00001-of-00002.h5"));
  ExpectSameBits(resumed, straight, 2);
  EXPECT_TRUE(fs::exists(Checkpoint(4) + "/manifest.textproto")) << "refused is not deleted";
}

TEST_F(RunCheckpointsTest, AHalfWrittenFolderIsNoCheckpoint) {
  TrainAndSave(1, config_, 2);
  fs::copy(Checkpoint(2), Checkpoint(9) + ".tmp");
  fs::copy(Checkpoint(2), Checkpoint(5));
  fs::remove(Checkpoint(5) + "/manifest.textproto");
  ResumeAndTrain(1, config_, 2, 2);
  // A file cut short is refused by its size.
  fs::copy(Checkpoint(2), Checkpoint(6));
  fs::resize_file(Checkpoint(6) + "/model-00000-of-00001.h5", 100);
  ResumeAndTrain(1, config_, 2, 2);
  // And one that is missing.
  fs::remove(Checkpoint(6) + "/model-00000-of-00001.h5");
  ResumeAndTrain(1, config_, 2, 2);
}

TEST_F(RunCheckpointsTest, AFolderWithoutManifestIsNoFreshStart) {
  TrainAndSave(1, config_, 2);
  fs::remove(Checkpoint(2) + "/manifest.textproto");
  EXPECT_THAT(ListCheckpoints(config_.run_dir()), ::testing::ElementsAre(Checkpoint(2)));
  for (const absl::Status& status : Resume(2, config_)) {
    EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
    EXPECT_THAT(std::string(status.message()), HasSubstr("step-00000002 has no manifest.textproto"));
  }
  EXPECT_TRUE(fs::exists(Checkpoint(2) + "/index.h5"));
}

TEST_F(RunCheckpointsTest, ASaveReplacesAFolderWithoutManifest) {
  TrainAndSave(2, config_, 2);
  fs::copy(Checkpoint(2), Checkpoint(4));
  fs::remove(Checkpoint(4) + "/manifest.textproto");
  std::ofstream(Checkpoint(4) + "/half-copied") << "x";
  ::testing::internal::CaptureStdout();
  Train(2, config_, tokens_, [](RankRun& run, int) -> absl::Status {
    PHOTON_ASSIGN_OR_RETURN(const int64_t step, run.Resume());
    EXPECT_EQ(step, 2);
    PHOTON_RETURN_IF_ERROR(run.TrainTo(4));
    return run.Save();
  });
  EXPECT_THAT(::testing::internal::GetCapturedStdout(), HasSubstr("step-00000004 has no manifest.textproto"));
  EXPECT_FALSE(fs::exists(Checkpoint(4) + "/half-copied"));
  ResumeAndTrain(1, config_, 4, 4);
}

TEST_F(RunCheckpointsTest, ADefaultWrittenOutIsNoOtherModel) {
  TrainAndSave(1, config_, 2);
  // As written by a program that did not know the field yet.
  Manifest manifest = CheckpointReader::Open(Checkpoint(2))->manifest();
  ASSERT_TRUE(manifest.config().model().has_rope_theta());
  manifest.mutable_config()->mutable_model()->clear_rope_theta();
  std::ofstream(Checkpoint(2) + "/manifest.textproto") << ManifestToText(manifest);
  ResumeAndTrain(1, config_, 2, 2);
  RunConfig other = config_;
  other.mutable_model()->set_rope_theta(2 * config_.model().rope_theta());
  EXPECT_EQ(Resume(1, other)[0].code(), absl::StatusCode::kFailedPrecondition);
}

TEST_F(RunCheckpointsTest, AllDamagedIsAnErrorAndNothingIsDeleted) {
  for (const int64_t step : {1, 2}) {
    TrainAndSave(1, config_, step);
    FlipByte(Checkpoint(step) + "/model-00000-of-00001.h5");
  }
  for (const absl::Status& status : Resume(2, config_)) {
    EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
    EXPECT_THAT(std::string(status.message()), HasSubstr("no checkpoint of " + folder_ / "run" + " is good"));
    EXPECT_THAT(std::string(status.message()), HasSubstr("checksum"));
  }
  for (const int64_t step : {1, 2}) {
    for (const char* file :
         {"manifest.textproto", "index.h5", "model-00000-of-00001.h5", "optimizer-00000-of-00001.h5"}) {
      EXPECT_TRUE(fs::exists(Checkpoint(step) + "/" + file)) << step << " " << file;
    }
  }
}

TEST_F(RunCheckpointsTest, AnotherModelIsRefusedByField) {
  TrainAndSave(1, config_, 2);
  RunConfig other = config_;
  other.mutable_model()->set_ffn(48);
  other.mutable_model()->mutable_levels(1)->set_prefix(3);
  for (const absl::Status& status : Resume(2, other)) {
    EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_THAT(std::string(status.message()), HasSubstr("another model"));
    EXPECT_THAT(std::string(status.message()), HasSubstr("ffn: 40 -> 48"));
    EXPECT_THAT(std::string(status.message()), HasSubstr("levels[1].prefix: 2 -> 3"));
    EXPECT_THAT(std::string(status.message()), HasSubstr("or another run_dir"));
  }
  // What is not of the model may change.
  RunConfig longer = config_;
  longer.mutable_training()->set_steps(99);
  longer.mutable_training()->mutable_optimizer()->set_peak_lr(1e-4);
  ResumeAndTrain(1, longer, 2, 3);
}

TEST_F(RunCheckpointsTest, KeepsTheLastFew) {
  RunConfig config = config_;
  config.mutable_checkpoint()->set_keep_last(2);
  Train(2, config, tokens_, [](RankRun& run, int) { return run.TrainTo(5, [&run] { return run.Save(); }); });
  EXPECT_THAT(ListCheckpoints(config.run_dir()), ::testing::ElementsAre(Checkpoint(5), Checkpoint(4)));
}

// The best step's save fails; the next one must not clear away the best that is there for one that never was.
TEST_F(RunCheckpointsTest, KeepsTheBestThatWasReallySaved) {
  fs::create_directory(folder_ / "graveyard");
  FaultyFileSystem files(folder_ / "graveyard");
  RunConfig config = config_;
  config.mutable_checkpoint()->set_keep_last(1);
  EarlyStopConfig patience;
  patience.set_patience(5);
  const auto trained = OnTrainingRanks(
      1, config, tokens_,
      [&](RankRun& run, int) -> absl::Status {
        EarlyStop stop(patience);
        for (const auto& [step, loss] : {std::pair{1, 5.0}, {2, 6.0}, {3, 4.0}, {4, 7.0}, {5, 7.0}}) {
          PHOTON_RETURN_IF_ERROR(run.TrainTo(step));
          stop.Add(step, loss);
          RunState state = run.trainer().state();
          stop.Save(&state);
          if (step == 3) files.Arm(FaultyFileSystem::Fault::kDiskFull, 0);
          const absl::Status saved = run.checkpoints().Save(state);
          files.Restart();
          EXPECT_EQ(saved.ok(), step != 3) << saved;
          if (saved.ok()) stop.Saved(state);
        }
        EXPECT_THAT(stop.Message(), HasSubstr("of step 3, validation loss 4.0000; its checkpoint could not be saved"));
        return absl::OkStatus();
      },
      files);
  EXPECT_TRUE(trained[0].ok()) << trained[0];
  EXPECT_THAT(ListCheckpoints(config.run_dir()), ::testing::ElementsAre(Checkpoint(5), Checkpoint(1)));
}

TEST_F(RunCheckpointsTest, BeginsFromTheWeightsOfAnotherRun) {
  TrainAndSave(2, config_, 4);
  const Outcome saved = ResumeAndTrain(1, config_, 4, 4);
  RunConfig tuned = TinyRun(folder_ / "tuned");
  tuned.mutable_training()->set_steps(6);
  tuned.mutable_training()->mutable_optimizer()->set_peak_lr(1e-3);
  const auto begin = [&](RankRun& run) { return run.checkpoints().InitFrom(folder_ / "run"); };
  for (const int ranks : {1, 2}) {
    const Outcome first = Train(ranks, tuned, tokens_, [&](RankRun& run, int) { return begin(run); });
    ExpectSameBits(first.master, saved.master, "weights");
    EXPECT_EQ(first.state.step(), 0);
    EXPECT_EQ(first.state.updates(), 0);
    for (const double m : first.m) ASSERT_EQ(m, 0);
  }
  // And goes on after a break as without one, still knowing where it came from.
  const Outcome straight = Train(2, tuned, tokens_, [&](RankRun& run, int) -> absl::Status {
    PHOTON_RETURN_IF_ERROR(begin(run));
    return run.TrainTo(6);
  });
  Train(2, tuned, tokens_, [&](RankRun& run, int) -> absl::Status {
    PHOTON_RETURN_IF_ERROR(begin(run));
    PHOTON_RETURN_IF_ERROR(run.TrainTo(3));
    return run.Save();
  });
  ExpectSameBits(ResumeAndTrain(2, tuned, 3, 6), straight, 3);
  Train(2, tuned, tokens_, [&](RankRun& run, int) -> absl::Status {
    PHOTON_RETURN_IF_ERROR(run.Resume().status());
    PHOTON_RETURN_IF_ERROR(run.TrainTo(4));
    return run.Save();
  });
  const auto reader = CheckpointReader::Open(CheckpointDir(tuned.run_dir(), 4));
  ASSERT_TRUE(reader.ok()) << reader.status();
  EXPECT_EQ(reader->manifest().init_from().checkpoint(), Checkpoint(4));
  EXPECT_EQ(reader->manifest().init_from().step(), 4);
}

TEST_F(RunCheckpointsTest, TheFirstStepsLossIsTheOtherRunsOnThatBatch) {
  // What the other run would have seen as its step 5 without a schedule: the loss before any update of the new run is
  // that of the old run's weights on the same batch, bit for bit.
  TrainAndSave(1, config_, 4);
  RunConfig tuned = TinyRun(folder_ / "tuned");
  tuned.mutable_training()->mutable_optimizer()->set_peak_lr(0);
  std::vector<TokenBatch> batches;
  double want = 0;
  Train(1, config_, tokens_, [&](RankRun& run, int) -> absl::Status {
    PHOTON_RETURN_IF_ERROR(run.Resume().status());
    PHOTON_ASSIGN_OR_RETURN(const auto loader,
                            Loader::Create(std::shared_ptr<const Dataset>(std::shared_ptr<void>(), &run.dataset()),
                                           {.batch_sequences = 12, .micro_batch_sequences = 12}));
    loader->Seek(0);
    PHOTON_ASSIGN_OR_RETURN(StepData data, loader->Next());
    batches = std::move(data.microbatches);
    PHOTON_ASSIGN_OR_RETURN(const Trainer::Validation result, run.trainer().Validate(batches));
    want = result.loss;
    return absl::OkStatus();
  });
  const Outcome first = Train(1, tuned, tokens_, [&](RankRun& run, int) -> absl::Status {
    PHOTON_RETURN_IF_ERROR(run.checkpoints().InitFrom(Checkpoint(4)));
    return run.TrainTo(1);
  });
  EXPECT_EQ(first.steps[0].ce, want);
}

TEST_F(RunCheckpointsTest, WeightsOfAnotherModelOrNoneAreRefused) {
  TrainAndSave(1, config_, 2);
  RunConfig other = TinyRun(folder_ / "other");
  other.mutable_model()->set_ffn(48);
  const auto begin_from = [&](const std::string& path) {
    return OnTrainingRanks(2, other, tokens_, [&](RankRun& run, int) { return run.checkpoints().InitFrom(path); });
  };
  for (const absl::Status& status : begin_from(Checkpoint(2))) {
    EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_THAT(std::string(status.message()), HasSubstr("ffn: 40 -> 48"));
    EXPECT_THAT(std::string(status.message()), HasSubstr("or another checkpoint"));
  }
  for (const absl::Status& status : begin_from(folder_ / "nothing")) {
    EXPECT_EQ(status.code(), absl::StatusCode::kNotFound) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(folder_ / "nothing"));
  }
  FlipByte(Checkpoint(2) + "/model-00000-of-00001.h5");
  other = TinyRun(folder_ / "other");
  for (const absl::Status& status : begin_from(Checkpoint(2))) {
    EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << status;
  }
}

TEST_F(RunCheckpointsTest, WeightsOfAnotherTokenizerAreRefused) {
  TrainAndSave(1, config_, 2);
  const auto self = SelfCommunicator();
  const auto contents = [&](const std::string& tokenizer, const std::string& from) {
    const RunConfig config = Resolved(config_, 1);
    const Mesh mesh = *Mesh::Create(*self, config.parallel());
    Arena arena;
    const Context context(Device{}, CpuBackend(), arena);
    Trainer trainer(config, mesh, context, arena);
    RunConfig elsewhere = config;
    elsewhere.set_run_dir(folder_ / "with" + tokenizer);
    RunCheckpoints checkpoints(context, mesh, elsewhere, trainer.model().parameters(), trainer.optimizer(), tokenizer);
    if (!from.empty()) return checkpoints.InitFrom(from);
    return checkpoints.Save(trainer.state());
  };
  ASSERT_TRUE(contents("one", "").ok());
  EXPECT_TRUE(contents("one", folder_ / "withone").ok());
  EXPECT_TRUE(contents("", folder_ / "withone").ok()) << "token ids alone";
  EXPECT_TRUE(contents("two", folder_ / "run").ok()) << "the checkpoint has none";
  const absl::Status refused = contents("two", folder_ / "withone");
  EXPECT_EQ(refused.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(refused.message()),
              HasSubstr("--tokenizer " + folder_ / "withone/checkpoints/step-00000000/tokenizer.model"));
}

// The disk fills up for a while: the save fails with its reason, training goes on, and a later save works.
TEST_F(RunCheckpointsTest, AFullDiskCostsOneCheckpoint) {
  const pid_t child = fork();
  if (child == 0) {
    std::signal(SIGXFSZ, SIG_IGN);
    const Outcome straight = TrainSteps(2, config_, tokens_, 6);
    const Outcome disturbed = Train(2, config_, tokens_, [](RankRun& run, int rank) -> absl::Status {
      PHOTON_RETURN_IF_ERROR(run.TrainTo(2));
      PHOTON_RETURN_IF_ERROR(run.Save());
      PHOTON_RETURN_IF_ERROR(run.TrainTo(4));
      const rlimit full{20'000, RLIM_INFINITY}, room{RLIM_INFINITY, RLIM_INFINITY};
      setrlimit(RLIMIT_FSIZE, &full);
      const absl::Status failed = run.Save();
      EXPECT_EQ(failed.code(), absl::StatusCode::kResourceExhausted) << failed;
      EXPECT_THAT(std::string(failed.message()), HasSubstr("step-00000004.tmp/"));
      setrlimit(RLIMIT_FSIZE, &room);
      PHOTON_RETURN_IF_ERROR(run.TrainTo(6));
      return run.Save();
    });
    ExpectSameBits(disturbed, straight);
    std::_Exit(::testing::Test::HasFailure() ? 1 : 0);
  }
  int status = -1;
  waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
  EXPECT_THAT(ListCheckpoints(config_.run_dir()), ::testing::ElementsAre(Checkpoint(6), Checkpoint(2)));
  for (const int64_t step : {2, 6}) {
    const auto reader = CheckpointReader::Open(Checkpoint(step));
    ASSERT_TRUE(reader.ok()) << reader.status();
    EXPECT_TRUE(reader->Verify(*SelfCommunicator(), "").ok());
  }
}

}  // namespace
}  // namespace photon
