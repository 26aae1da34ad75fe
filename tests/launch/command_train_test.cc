// photon train as users, batch systems and full disks treat it.
#include <gmock/gmock.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <numeric>

#include "checkpoint/store.h"
#include "tests/launch/train_process.h"

namespace photon {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::AnyOf;
using ::testing::HasSubstr;
using testing::Metrics;
using ::testing::Not;
using testing::TrainFolder;
using testing::TrainProcess;

constexpr char kEndless[] = "steps: 1000000 valid_every: 0 log_every: 10";

TEST(TrainCommand, LeavesWhatOthersRelyOn) {
  const TrainFolder folder("steps: 6 valid_every: 3", "every: 4");
  TrainProcess run(folder, 2, "");
  ASSERT_EQ(run.Wait(), 0) << run.Log();
  std::vector<int64_t> steps, validations;
  for (const nlohmann::json& line : Metrics(folder)) {
    if (line.contains("valid_loss")) {
      validations.push_back(line["step"]);
      continue;
    }
    steps.push_back(line["step"]);
    for (const char* key : {"loss", "lr", "grad_norm", "tokens_per_s", "mfu"})
      EXPECT_TRUE(line[key].is_number()) << key;
  }
  EXPECT_THAT(steps, ::testing::ElementsAre(1, 2, 3, 4, 5, 6));
  EXPECT_THAT(validations, ::testing::ElementsAre(3, 6));
  EXPECT_EQ(fs::read_symlink(folder.Checkpoint("latest")), "step-00000006");
  EXPECT_TRUE(fs::exists(folder.Checkpoint("step-00000004")));
  EXPECT_TRUE(fs::exists(folder / "run/config.textproto"));
  EXPECT_EQ(folder.Read("run/finished"), "step 6\n");
  // A finished run that is resumed has nothing to do, and says so with 0.
  const std::string before = folder.Read("run/metrics.jsonl");
  TrainProcess again(folder, 0, "--resume");
  EXPECT_EQ(again.Wait(), 0) << again.Log();
  EXPECT_THAT(again.Log(), AllOf(HasSubstr("resumed at step 6"),
                                 HasSubstr("already at step 6 of training.steps = 6; to go on, raise training.steps")));
  EXPECT_EQ(folder.Read("run/metrics.jsonl"), before);
  EXPECT_TRUE(fs::exists(folder / "run/finished"));
}

TEST(TrainCommand, ComputesWithTheThreadsThatAreAskedFor) {
  const TrainFolder folder("steps: 1 valid_every: 0");
  TrainProcess run(folder, 0, "--device cpu --threads 3");  // OMP_NUM_THREADS is 1
  ASSERT_EQ(run.Wait(), 0) << run.Log();
  EXPECT_THAT(run.Log(), HasSubstr("CPU, 3 threads"));
}

// Scripts that start a run again look for the mark that it needs no more.
TEST(TrainCommand, IsMarkedAsFinishedOnlyAtItsEnd) {
  const TrainFolder folder("steps: 4 valid_every: 0");
  TrainProcess finished(folder, 2, "");
  ASSERT_EQ(finished.Wait(), 0) << finished.Log();
  ASSERT_TRUE(fs::exists(folder / "run/finished"));
  TrainProcess longer(folder, 2, "--resume --set training.steps=1000000");
  ASSERT_TRUE(longer.WaitForLog("step 20/")) << longer.Log();
  EXPECT_FALSE(fs::exists(folder / "run/finished")) << "it goes on";
  longer.Signal(SIGUSR2);
  ASSERT_EQ(longer.Wait(), 0) << longer.Log();
  EXPECT_FALSE(fs::exists(folder / "run/finished")) << "it was stopped";
}

TEST(TrainCommand, SigtermSavesAndExitsWith0) {
  const TrainFolder folder(kEndless, "every: 0");
  TrainProcess run(folder, 0, "");
  ASSERT_TRUE(run.WaitForLog("step 20/")) << run.Log();
  ASSERT_EQ(run.Ranks().size(), 1u);
  kill(run.Ranks()[0], SIGTERM);
  EXPECT_EQ(run.Wait(), 0) << run.Log();
  EXPECT_THAT(run.Log(), AllOf(HasSubstr("saved "), HasSubstr("stopped by SIGTERM at step")));
  const auto latest = CheckpointReader::Open(folder.Checkpoint("latest"));
  ASSERT_TRUE(latest.ok()) << latest.status();
  EXPECT_EQ(latest->manifest().state().step(), Metrics(folder).back()["step"]);
}

TEST(TrainCommand, CtrlCSavesAndExitsWith0) {
  const TrainFolder folder(kEndless, "every: 0");
  TrainProcess run(folder, 0, "");
  ASSERT_TRUE(run.WaitForLog("step 20/")) << run.Log();
  run.Signal(SIGINT);
  EXPECT_EQ(run.Wait(), 0) << run.Log();
  EXPECT_THAT(run.Log(), AllOf(HasSubstr("saved "), HasSubstr("stopped by SIGINT at step")));
  EXPECT_TRUE(fs::exists(folder.Checkpoint("latest/manifest.textproto")));
}

// Two jobs with one config; each has a log of its own only where it has a folder of its own.
TEST(TrainCommand, OneTrainingAtATimeInARunFolder) {
  const TrainFolder folder(kEndless, "every: 1"), other(kEndless);
  TrainProcess first(folder, 2, "");
  ASSERT_TRUE(first.WaitForLog("step 20/")) << first.Log();
  TrainProcess second(other, 2, "--resume --set run_dir=" + folder / "run");
  EXPECT_EQ(second.Wait(), 2) << second.Log();
  EXPECT_THAT(second.Log(), AllOf(HasSubstr("another process trains in run_dir " + folder / "run"),
                                  AnyOf(HasSubstr(absl::StrCat("process ", first.Ranks()[0], " on ")),
                                        HasSubstr(absl::StrCat("process ", first.Ranks()[1], " on ")))));
  EXPECT_FALSE(first.ended()) << first.Log();
  first.KillAll();
  TrainProcess requeued(folder, 2, "--resume --set training.steps=1");
  EXPECT_EQ(requeued.Wait(), 0) << "a killed run holds nothing\n" << requeued.Log();
}

// Any rank may be the one that is told; all of them save and end together.
TEST(TrainCommand, SigtermToOneRankStopsAll) {
  const TrainFolder folder(kEndless, "every: 0");
  TrainProcess run(folder, 2, "");
  ASSERT_TRUE(run.WaitForLog("step 20/")) << run.Log();
  ASSERT_EQ(run.Ranks().size(), 2u);
  kill(run.Ranks()[1], SIGTERM);
  EXPECT_EQ(run.Wait(), 0) << run.Log();
  EXPECT_TRUE(fs::exists(folder.Checkpoint("latest/manifest.textproto")));
}

// mpirun passes it on and waits, where SIGTERM would leave the ranks a second.
TEST(TrainCommand, Sigusr2ToMpirunSavesAndStopsAll) {
  const TrainFolder folder(kEndless, "every: 0");
  TrainProcess run(folder, 2, "");
  ASSERT_TRUE(run.WaitForLog("step 20/")) << run.Log();
  run.Signal(SIGUSR2);
  EXPECT_EQ(run.Wait(), 0) << run.Log();
  EXPECT_THAT(run.Log(), AllOf(HasSubstr("saved "), HasSubstr("stopped by SIGUSR2 at step")));
  EXPECT_TRUE(fs::exists(folder.Checkpoint("latest/manifest.textproto")));
}

TEST(TrainCommand, SavesBehindTheTrainingAndSaysSoWhenDone) {
  const TrainFolder folder("steps: 30 valid_every: 0", "every: 1 when_busy: SKIP");
  TrainProcess run(folder, 2, "");
  ASSERT_EQ(run.Wait(), 0) << run.Log();
  EXPECT_THAT(run.Log(), HasSubstr("written behind the training"));
  // Each step's checkpoint was saved or said to be skipped; the last is never skipped.
  int saved = 0, skipped = 0;
  const std::string log = run.Log();
  for (size_t at = 0; (at = log.find("saved ", at)) != std::string::npos; ++at) ++saved;
  for (size_t at = 0; (at = log.find(" skipped: that of step ", at)) != std::string::npos; ++at) ++skipped;
  EXPECT_EQ(saved + skipped, 30) << log;
  EXPECT_GT(skipped, 0) << "a step takes less than a save here";
  EXPECT_EQ(fs::read_symlink(folder.Checkpoint("latest")), "step-00000030");
  TrainProcess waits(folder, 2, "--set run_dir=" + folder / "other" + " --set checkpoint.async=false");
  ASSERT_EQ(waits.Wait(), 0) << waits.Log();
  EXPECT_THAT(waits.Log(), Not(AnyOf(HasSubstr("written behind"), HasSubstr("skipped"))));
}

// The steps that the log speaks of so: "saved .../step-00000012 in", "checkpoint of step 12 skipped".
std::vector<int64_t> StepsAfter(const std::string& log, const std::string& before, const std::string& after) {
  std::vector<int64_t> steps;
  for (const absl::string_view line : absl::StrSplit(log, '\n')) {
    const size_t begin = line.find(before), end = line.find(after);
    int64_t step = 0;
    if (begin == line.npos || end == line.npos) continue;
    const absl::string_view number = line.substr(begin + before.size(), end - begin - before.size());
    if (absl::SimpleAtoi(number, &step)) steps.push_back(step);
  }
  return steps;
}

// Saves take longer than steps here, so that SIGTERM mostly finds one under way: it is finished, then the last is made.
TEST(TrainCommand, SigtermFinishesTheSaveUnderWay) {
  for (const int ranks : {0, 2}) {
    const TrainFolder folder(kEndless, "every: 1 when_busy: SKIP");
    TrainProcess run(folder, ranks, "");
    ASSERT_TRUE(run.WaitForLog("step 20/")) << run.Log();
    kill(run.Ranks()[0], SIGTERM);
    EXPECT_EQ(run.Wait(), 0) << run.Log();
    std::vector<int64_t> told = StepsAfter(run.Log(), "/step-", " in ");
    const int64_t last = Metrics(folder).back()["step"];
    ASSERT_GE(told.size(), 2u) << run.Log();
    EXPECT_EQ(told.back(), last);
    for (const int64_t step : {told[told.size() - 2], last}) {
      const auto reader = CheckpointReader::Open(CheckpointDir(folder / "run", step));
      ASSERT_TRUE(reader.ok()) << reader.status();
      EXPECT_TRUE(reader->Verify(*SelfCommunicator(), "").ok()) << step;
    }
    // Each step's save was begun or said to be skipped; none that was begun was lost.
    const std::vector<int64_t> skipped = StepsAfter(run.Log(), "checkpoint of step ", " skipped");
    told.insert(told.end(), skipped.begin(), skipped.end());
    std::sort(told.begin(), told.end());
    std::vector<int64_t> all(last);
    std::iota(all.begin(), all.end(), 1);
    EXPECT_EQ(told, all) << run.Log();
  }
}

TEST(TrainCommand, ASaveThatWaitsSkipsNothing) {
  const TrainFolder folder("steps: 12 valid_every: 0", "every: 1 when_busy: WAIT keep_last: 0");
  TrainProcess run(folder, 2, "");
  ASSERT_EQ(run.Wait(), 0) << run.Log();
  EXPECT_THAT(run.Log(), AllOf(HasSubstr("written behind the training"), Not(HasSubstr("skipped"))));
  EXPECT_THAT(StepsAfter(run.Log(), "/step-", " in "), ::testing::ElementsAre(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12));
  for (const std::string& dir : ListCheckpoints(folder / "run")) {
    const auto reader = CheckpointReader::Open(dir);
    ASSERT_TRUE(reader.ok()) << reader.status();
    EXPECT_TRUE(reader->Verify(*SelfCommunicator(), "").ok()) << dir;
  }
  EXPECT_EQ(ListCheckpoints(folder / "run").size(), 12u);
}

TEST(TrainCommand, BeginsFromAnotherRunsWeights) {
  const TrainFolder folder("steps: 6 valid_every: 1 objective { alpha: 0.3 }", "every: 3");
  ASSERT_EQ(TrainProcess(folder, 2, "").Wait(), 0);
  const std::string tuned = "--init-from " + folder / "run" + " --set run_dir=" + folder / "tuned";
  // With a learning rate of 0, validation after the first step is that of the checkpoint.
  TrainProcess first(folder, 2, tuned + " --set training.steps=1 --set training.optimizer.peak_lr=0");
  ASSERT_EQ(first.Wait(), 0) << first.Log();
  std::ifstream in(folder / "tuned/metrics.jsonl");
  nlohmann::json valid;
  for (std::string line; std::getline(in, line);) valid = nlohmann::json::parse(line);
  EXPECT_EQ(valid["step"], 1);
  EXPECT_EQ(valid["valid_loss"], Metrics(folder).back()["valid_loss"]);
  // A run that has begun is not begun again, unless told to go on.
  TrainProcess again(folder, 2, tuned);
  EXPECT_EQ(again.Wait(), 2) << again.Log();
  EXPECT_THAT(again.Log(), HasSubstr("holds checkpoints already"));
  TrainProcess requeued(folder, 2, tuned + " --resume");
  EXPECT_EQ(requeued.Wait(), 0) << requeued.Log();
  EXPECT_THAT(requeued.Log(), AllOf(HasSubstr("resumed at step 1"), HasSubstr("--init-from is not used")));
  const std::string fresh = "--init-from " + folder / "run" + " --resume --set run_dir=" + folder / "fresh";
  TrainProcess queued(folder, 2, fresh);
  EXPECT_EQ(queued.Wait(), 0) << queued.Log();
  EXPECT_THAT(queued.Log(), AllOf(HasSubstr("nothing to resume in"), HasSubstr("weights of")));
  // Another model is refused by field; without one in the config, the checkpoint's is taken.
  TrainProcess other(folder, 1, "--init-from " + folder / "run" + " --set model.ffn=48 --set run_dir=" + folder / "o");
  EXPECT_EQ(other.Wait(), 2) << other.Log();
  EXPECT_THAT(other.Log(), HasSubstr("ffn: 40 -> 48"));
  TrainProcess without(folder, 1, "--init-from " + folder / "run" + " --set model= --set run_dir=" + folder / "w");
  EXPECT_EQ(without.Wait(), 0) << without.Log();
}

// A run's folder is moved, and its data too: it goes on from where it lies, once it is told where the data are.
TEST(TrainCommand, ARunFolderMayBeMoved) {
  const TrainFolder folder("steps: 4", "every: 2");
  ASSERT_EQ(TrainProcess(folder, 2, "").Wait(), 0);
  fs::create_directory(folder / "elsewhere");
  fs::rename(folder / "run", folder / "elsewhere/moved");
  const auto found = ResolveCheckpoint(folder / "elsewhere/moved");
  ASSERT_TRUE(found.ok()) << found.status();
  EXPECT_EQ(*found, folder / "elsewhere/moved/checkpoints/step-00000004");
  const std::string there = "--resume --set training.steps=6 --set run_dir=" + folder / "elsewhere/moved";
  TrainProcess resumed(folder, 2, there);
  EXPECT_EQ(resumed.Wait(), 0) << resumed.Log();
  EXPECT_THAT(resumed.Log(), HasSubstr("resumed at step 4"));
  EXPECT_FALSE(fs::exists(folder / "run")) << "nothing remembers where it was";
  for (const char* file : {"tokens.bin", "tokens.idx"}) fs::rename(folder / file, folder / "elsewhere/" + file);
  TrainProcess lost(folder, 2, there + " --set training.steps=8");
  EXPECT_EQ(lost.Wait(), 2) << lost.Log();
  EXPECT_THAT(lost.Log(), AllOf(HasSubstr(folder / "tokens"), HasSubstr("data.train")));
  TrainProcess told(folder, 2, there + " --set training.steps=8 --set data.train=" + folder / "elsewhere/tokens");
  EXPECT_EQ(told.Wait(), 0) << told.Log();
  EXPECT_THAT(told.Log(), HasSubstr("resumed at step 6"));
}

TEST(TrainCommand, Sigusr1SavesAndGoesOn) {
  const TrainFolder folder(kEndless, "every: 0");
  TrainProcess run(folder, 2, "");
  ASSERT_TRUE(run.WaitForLog("step 20/")) << run.Log();
  kill(run.Ranks()[0], SIGUSR1);
  ASSERT_TRUE(run.WaitForLog("saved ")) << run.Log();
  const int64_t saved = CheckpointReader::Open(folder.Checkpoint("latest"))->manifest().state().step();
  ASSERT_TRUE(run.WaitForLog(absl::StrCat("step ", (saved / 10 + 5) * 10, "/"))) << run.Log();
  EXPECT_FALSE(run.ended());
  kill(run.Ranks()[1], SIGUSR1);
  EXPECT_TRUE(run.WaitFor([&] { return run.Log().find("saved ") != run.Log().rfind("saved "); })) << "a second save\n"
                                                                                                  << run.Log();
}

// The last step of a run whose learning rate is absurd: it overflows, stops itself, names the batch, and keeps what was
// good.
TEST(TrainCommand, StopsItselfWith3) {
  const TrainFolder folder("steps: 200 valid_every: 0 health { max_skipped_in_row: 3 }", "every: 1 keep_last: 2");
  TrainProcess run(folder, 2, "--set training.optimizer.peak_lr=1e38 --set training.optimizer.warmup_steps=0");
  ASSERT_EQ(run.Wait(), 3) << run.Log();
  EXPECT_THAT(run.Log(), AllOf(HasSubstr("4 bad steps in a row"), HasSubstr("of the sample order)"),
                               HasSubstr("peak_lr"), HasSubstr("SKIPPED: the ")));
  int skipped = 0;
  for (const auto& entry : Metrics(folder)) skipped += entry.contains("skipped");
  EXPECT_EQ(skipped, 4) << "the step that stopped the run is in the metrics too";
  EXPECT_TRUE(Metrics(folder).back()["loss"].is_null());
}

TEST(TrainCommand, ARunIsNotWrittenOver) {
  const TrainFolder folder("steps: 2");
  ASSERT_EQ(TrainProcess(folder, 0, "").Wait(), 0);
  const std::string metrics = folder.Read("run/metrics.jsonl"),
                    manifest = folder.Read("run/checkpoints/step-00000002/manifest.textproto");
  TrainProcess again(folder, 2, "--set training.steps=4");
  EXPECT_EQ(again.Wait(), 2) << again.Log();
  EXPECT_THAT(again.Log(),
              AllOf(HasSubstr("holds checkpoints already"), HasSubstr("--resume"), HasSubstr(folder / "run")));
  EXPECT_EQ(folder.Read("run/metrics.jsonl"), metrics);
  EXPECT_EQ(folder.Read("run/checkpoints/step-00000002/manifest.textproto"), manifest);
  EXPECT_FALSE(fs::exists(folder.Checkpoint("step-00000004")));
}

TEST(TrainCommand, AnotherModelsCheckpointIsRefused) {
  const TrainFolder folder("steps: 2");
  ASSERT_EQ(TrainProcess(folder, 0, "").Wait(), 0);
  const std::string metrics = folder.Read("run/metrics.jsonl");
  TrainProcess other(folder, 2, "--resume --set model.heads=4");
  EXPECT_EQ(other.Wait(), 2) << other.Log();
  EXPECT_THAT(other.Log(), AllOf(HasSubstr("another model"), HasSubstr("heads: 2 -> 4"), HasSubstr("run_dir")));
  EXPECT_EQ(folder.Read("run/metrics.jsonl"), metrics);
}

TEST(TrainCommand, ADamagedNewestIsPassedOver) {
  const TrainFolder folder("steps: 4", "every: 2");
  ASSERT_EQ(TrainProcess(folder, 2, "").Wait(), 0);
  const std::string part = folder.Checkpoint("step-00000004/model-00001-of-00002.h5");
  const auto flip = [](const std::string& path) {
    std::fstream file(path, std::ios::binary | std::ios::in | std::ios::out);
    file.seekg(fs::file_size(path) / 2);
    const char byte = static_cast<char>(file.get() ^ 1);
    file.seekp(fs::file_size(path) / 2);
    file.put(byte);
  };
  flip(part);
  TrainProcess resumed(folder, 1, "--resume --set training.steps=5");
  EXPECT_EQ(resumed.Wait(), 0) << resumed.Log();
  EXPECT_THAT(resumed.Log(), AllOf(HasSubstr("checksum"), HasSubstr(part), HasSubstr("resumed at step 2")));

  for (const char* file :
       {"step-00000002/model-00001-of-00002.h5", "step-00000004/index.h5", "step-00000005/index.h5"}) {
    flip(folder.Checkpoint(file));
  }
  TrainProcess hopeless(folder, 1, "--resume --set training.steps=6");
  EXPECT_EQ(hopeless.Wait(), 2) << hopeless.Log();
  EXPECT_THAT(hopeless.Log(), AllOf(HasSubstr("no checkpoint of"), HasSubstr("checksum")));
  for (const char* step : {"step-00000002", "step-00000004", "step-00000005"}) {
    EXPECT_TRUE(fs::exists(folder.Checkpoint(step) + "/manifest.textproto")) << step;
  }
}

// A file-size limit is the closest to a full disk that needs no privileges: writes beyond it fail. The run ends, says
// what it could not save, and an earlier checkpoint is still good. (Several kB are enough for metrics, not for
// tensors.)
TEST(TrainCommand, AFullDiskCostsCheckpointsNotTheRun) {
  const TrainFolder folder("steps: 2 valid_every: 0", "every: 2");
  ASSERT_EQ(TrainProcess(folder, 0, "").Wait(), 0);
  TrainProcess full(folder, 0, "--resume --set training.steps=6", "ulimit -f 40");  // kB
  EXPECT_EQ(full.Wait(), 2) << full.Log();
  EXPECT_THAT(full.Log(), AllOf(HasSubstr("resumed at step 2"), HasSubstr("checkpoint of step 4 NOT saved"),
                                HasSubstr("step 6/6"), HasSubstr("the last checkpoint could not be saved")));
  EXPECT_EQ(Metrics(folder).back()["step"], 6);
  EXPECT_EQ(fs::read_symlink(folder.Checkpoint("latest")), "step-00000002");
  EXPECT_FALSE(fs::exists(folder.Checkpoint("step-00000004.tmp")));
  TrainProcess roomy(folder, 0, "--resume --set training.steps=6");
  EXPECT_EQ(roomy.Wait(), 0) << roomy.Log();
  EXPECT_THAT(roomy.Log(), HasSubstr("resumed at step 2"));
  EXPECT_EQ(fs::read_symlink(folder.Checkpoint("latest")), "step-00000006");
}

}  // namespace
}  // namespace photon
