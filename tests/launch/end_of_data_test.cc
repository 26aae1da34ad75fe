// The end of the data, data that change and early stop, in the program itself.
#include <gmock/gmock.h>

#include <fstream>

#include "tests/launch/train_process.h"

namespace photon {
namespace {

using ::testing::HasSubstr;
using testing::TrainFolder;
using testing::TrainProcess;

TEST(EndOfData, StopsSavedAndAResumeFindsNothingToDo) {
  TrainFolder folder("steps: 100000 valid_every: 0 log_every: 1000");
  TrainProcess run(folder, 0, "--set data.at_end=STOP");
  EXPECT_EQ(run.Wait(), 0);
  EXPECT_THAT(run.Log(), HasSubstr("the data end after step"));
  EXPECT_THAT(run.Log(), HasSubstr("saved"));
  TrainProcess again(folder, 0, "--set data.at_end=STOP --resume");
  EXPECT_EQ(again.Wait(), 0);
  EXPECT_THAT(again.Log(), HasSubstr("resumed at step"));
  EXPECT_THAT(again.Log(), HasSubstr("the data end after step"));
}

TEST(ChangedData, EndARunSavedAndAResumeIsRefusedUnlessMeant) {
  TrainFolder folder("steps: 100000 valid_every: 0 log_every: 1");
  TrainProcess run(folder, 0, "");
  ASSERT_TRUE(run.WaitForLog("step 3/")) << run.Log();
  std::ofstream(folder / "tokens.bin", std::ios::app) << "xx";
  EXPECT_EQ(run.Wait(), 2);
  EXPECT_THAT(run.Log(), HasSubstr("tokens.bin changed while it was read"));
  EXPECT_THAT(run.Log(), HasSubstr("saved"));
  std::filesystem::resize_file(folder / "tokens.bin", std::filesystem::file_size(folder / "tokens.bin") - 2);
  std::fstream(folder / "tokens.bin", std::ios::in | std::ios::out | std::ios::binary) << "\1";  // another first id
  TrainProcess refused(folder, 0, "--resume");
  EXPECT_EQ(refused.Wait(), 2);
  EXPECT_THAT(refused.Log(), HasSubstr("data.accept_changed"));
  TrainProcess meant(folder, 0, "--resume --set data.accept_changed=true --set training.steps=1");
  EXPECT_EQ(meant.Wait(), 0) << meant.Log();
}

TEST(EarlyStopRun, EndsAndKeepsTheBestCheckpoint) {
  // A rate of 0 learns nothing: the first validation stays the best.
  TrainFolder folder("steps: 100 valid_every: 2 valid_sequences: 4 early_stop { patience: 3 }",
                     "every: 1 keep_last: 1");
  TrainProcess run(folder, 2, "--set training.optimizer.peak_lr=0");
  EXPECT_EQ(run.Wait(), 0) << run.Log();
  EXPECT_THAT(run.Log(), HasSubstr("not better by 0 than that of step 2,"));
  EXPECT_TRUE(std::filesystem::exists(folder.Checkpoint("step-00000002")));
  EXPECT_TRUE(std::filesystem::exists(folder.Checkpoint("step-00000008")));
  EXPECT_FALSE(std::filesystem::exists(folder.Checkpoint("step-00000005")));
  TrainProcess again(folder, 2, "--set training.optimizer.peak_lr=0 --resume");
  EXPECT_EQ(again.Wait(), 0);
  EXPECT_THAT(again.Log(), HasSubstr("early stop"));
}

}  // namespace
}  // namespace photon
