// latest, keep-last-N, and what a path given by a person stands for.
#include <gmock/gmock.h>

#include "tests/checkpoint/fixtures.h"

namespace photon {
namespace {

using namespace photon::testing;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

void SaveStep(const std::string& run, int64_t step, int keep) {
  WriteSample(CheckpointDir(run, step), 1, Layout::kRows, step);
  const absl::Status status = PublishCheckpoint(run, step, keep);
  ASSERT_TRUE(status.ok()) << status;
}

TEST(RunFolder, NamesSortByStep) {
  EXPECT_EQ(CheckpointDir("runs/a", 200), "runs/a/checkpoints/step-00000200");
  EXPECT_EQ(CheckpointDir("runs/a", 123456789012), "runs/a/checkpoints/step-123456789012");
}

TEST(RunFolder, KeepsTheLastAndSwingsLatest) {
  TemporaryFolder run;
  for (int64_t step : {5, 10, 15, 20}) {
    SaveStep(run.path(), step, 2);
    EXPECT_EQ(std::filesystem::read_symlink(run / "checkpoints/latest"),
              std::filesystem::path(CheckpointDir("", step)).filename());
  }
  EXPECT_THAT(FilesIn(run / "checkpoints"), ElementsAre("latest", "step-00000015", "step-00000020"));
  EXPECT_THAT(ListCheckpoints(run.path()), ElementsAre(CheckpointDir(run.path(), 20), CheckpointDir(run.path(), 15)));
  SaveStep(run.path(), 25, 0);  // 0 keeps all
  EXPECT_EQ(ListCheckpoints(run.path()).size(), 3u);
}

TEST(RunFolder, NewestFirstBeyondEightDigits) {
  TemporaryFolder run;
  SaveStep(run.path(), 99999999, 0);
  SaveStep(run.path(), 100000000, 0);
  EXPECT_EQ(ListCheckpoints(run.path()).front(), CheckpointDir(run.path(), 100000000));
}

TEST(RunFolder, LaterStepsThanThePublishedNeitherCountNorGo) {
  TemporaryFolder run;
  SaveStep(run.path(), 10, 0);
  WriteSample(CheckpointDir(run.path(), 400));  // refused on resuming, say
  SaveStep(run.path(), 20, 2);
  EXPECT_EQ(ListCheckpoints(run.path()).size(), 3u);
  EXPECT_EQ(*ResolveCheckpoint(run.path()), CheckpointDir(run.path(), 20));
}

TEST(RunFolder, RemovesLeftoversOfItsOwnOnly) {
  TemporaryFolder run;
  SaveStep(run.path(), 10, 2);
  for (const char* name : {"step-00000020.tmp", "step-00000005.deleting", "notes.tmp", "step-x.tmp"}) {
    std::filesystem::create_directory(run / "checkpoints/" + name);
  }
  EXPECT_THAT(ListCheckpoints(run.path()), ElementsAre(CheckpointDir(run.path(), 10)));
  SaveStep(run.path(), 30, 2);
  EXPECT_THAT(FilesIn(run / "checkpoints"),
              ElementsAre("latest", "notes.tmp", "step-00000010", "step-00000030", "step-x.tmp"));
}

TEST(RunFolder, ResolvesWhatPeopleGive) {
  TemporaryFolder run;
  EXPECT_EQ(ResolveCheckpoint(run / "none").status().code(), absl::StatusCode::kNotFound);
  const auto empty = ResolveCheckpoint(run.path());
  EXPECT_EQ(empty.status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(empty.status().message()), HasSubstr(run.path()));
  WriteSample(CheckpointDir(run.path(), 1));
  EXPECT_EQ(*ResolveCheckpoint(run.path()), CheckpointDir(run.path(), 1)) << "saved, killed before it was published";
  SaveStep(run.path(), 2, 0);
  WriteSample(CheckpointDir(run.path(), 3));
  EXPECT_EQ(*ResolveCheckpoint(run.path()), CheckpointDir(run.path(), 2));
  EXPECT_EQ(*ResolveCheckpoint(CheckpointDir(run.path(), 1)), CheckpointDir(run.path(), 1));
  EXPECT_EQ(*ResolveCheckpoint(run / "checkpoints/latest"), std::filesystem::canonical(CheckpointDir(run.path(), 2)));
  std::filesystem::remove_all(CheckpointDir(run.path(), 2));  // latest dangles
  EXPECT_EQ(*ResolveCheckpoint(run.path()), CheckpointDir(run.path(), 3));
}

TEST(RunFolder, AFolderWithoutManifestIsListedButNeverChosen) {
  TemporaryFolder run;
  for (const char* broken : {"step-00000003", "step-00000030"}) {
    std::filesystem::create_directories(run / "checkpoints/" + broken);
    Spill(run / "checkpoints/" + broken + "/index.h5", "half");
  }
  EXPECT_EQ(ListCheckpoints(run.path()).size(), 2u);
  EXPECT_EQ(ResolveCheckpoint(run.path()).status().code(), absl::StatusCode::kNotFound);
  for (const int64_t step : {10, 20, 40}) SaveStep(run.path(), step, 2);
  EXPECT_THAT(FilesIn(run / "checkpoints"),
              ElementsAre("latest", "step-00000003", "step-00000020", "step-00000030", "step-00000040"));
  SaveStep(run.path(), 30, 2);  // takes the broken one's place
  EXPECT_TRUE(CheckpointReader::Open(CheckpointDir(run.path(), 30)).ok());
}

TEST(RunFolder, PublishesFinishedOnesOnly) {
  TemporaryFolder run;
  EXPECT_EQ(PublishCheckpoint(run.path(), 1, 2).code(), absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace photon
