// photon train over MPI, under layouts: the program as users start it.
#include <gmock/gmock.h>
#include <sys/stat.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "tests/launch/train_process.h"

namespace photon {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using testing::TrainFolder;
using testing::TrainProcess;

double ValidationLoss(const TrainFolder& folder) {
  for (const nlohmann::json& entry : testing::Metrics(folder)) {
    if (entry.contains("valid_loss")) return entry["valid_loss"];
  }
  return std::nan("");
}

// They train, validate, save, and one rank goes on. Losses are those of one rank, to f32's rounding.
TEST(TrainLayouts, EveryAxisOverMpi) {
  const std::string steps = "steps: 3 valid_every: 3 micro_batch_sequences: 1";
  const TrainFolder alone(steps);
  TrainProcess one(alone, 0, "");
  ASSERT_EQ(one.Wait(), 0) << one.Log();
  const double want = ValidationLoss(alone);
  for (const char* axes : {"--set parallel.cp=2", "--set parallel.tp=2 --set parallel.vocabulary=REPLICATED",
                           "--set parallel.pp=2", "--set parallel.pp=2 --set parallel.pipeline.form=ENCODERS"}) {
    const TrainFolder folder(steps);
    TrainProcess run(folder, 2, axes);
    ASSERT_EQ(run.Wait(), 0) << axes << "\n" << run.Log();
    EXPECT_NEAR(ValidationLoss(folder), want, 1e-5 * want) << axes;
    TrainProcess further(folder, 0, "--resume --set training.steps=4");
    EXPECT_EQ(further.Wait(), 0) << axes << "\n" << further.Log();
    EXPECT_THAT(further.Log(), HasSubstr("resumed at step 3")) << axes;
  }
}

// A rank that is stuck before there is a mesh: its config lies behind a server that doesn't answer.
TEST(TrainLayouts, ARankThatNeverComesIsMissed) {
  const TrainFolder folder("steps: 1 valid_every: 0");
  ASSERT_EQ(mkfifo((folder / "fifo").c_str(), 0600), 0);
  TrainProcess run(folder, 1,
                   absl::StrCat("--set parallel.collective_timeout_s=2 : -n 1 ", PHOTON_BINARY, " train --config ",
                                folder / "fifo"));
  EXPECT_NE(run.Wait(), 0);
  EXPECT_THAT(run.Log(), AllOf(HasSubstr("rank 0 of 2"), HasSubstr("the config")));
}

}  // namespace
}  // namespace photon
