// A folder whose runs "were trained": checkpoints without tensors.
#include "study/study_data.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "checkpoint/store.h"
#include "data/open.h"
#include "tests/data/temporary.h"
#include "train/data_progress.h"

namespace photon::study {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using testing::TemporaryFolder;
using testing::WriteDocuments;

class StudyData : public ::testing::Test {
 protected:
  StudyData() {
    WriteDocuments(folder_ / "train", {std::vector<int32_t>(600, 5)});
    WriteDocuments(folder_ / "valid", {std::vector<int32_t>(300, 6)});
    options_.train = folder_ / "train";
    options_.valid = folder_ / "valid";
    options_.out = folder_ / "out";
    options_.vocab_size = 1000;
    options_.scale = *FindScale("tiny");
    options_.kinds = {std::begin(kKinds), std::end(kKinds)};
    std::filesystem::create_directory(options_.out);
  }
  absl::Status Check() const { return CheckData(options_, *Plan(options_)); }
  absl::Status CheckAndKeep() const { return CheckAndKeepData(options_, *Plan(options_)); }
  // A checkpoint of that run, on the data that the options name now.
  void Train(const std::string& name, int64_t step = 10, bool knows_data = true) const {
    CheckpointContents contents;
    contents.config = (*Plan(options_))[0].config;
    contents.state.set_step(step);
    const auto opened = OpenData(contents.config.data(), options_.vocab_size, 16);
    const std::vector<DataFile> data = *DataProgress::Create(contents.config, opened->train)->Identify();
    if (knows_data) contents.state.mutable_data()->Assign(data.begin(), data.end());
    const std::string folder = options_.out + "/" + name;
    std::filesystem::create_directories(folder + "/checkpoints");
    const absl::Status written = WriteCheckpoint(*SelfCommunicator(), CheckpointDir(folder, step), contents);
    ASSERT_TRUE(written.ok()) << written;
  }
  // The file under another name.
  std::string Move(const std::string& name, const std::string& to) const {
    for (const char* end : {".bin", ".idx"}) std::filesystem::rename(folder_ / (name + end), folder_ / (to + end));
    return folder_ / to;
  }
  std::string Other(const std::string& name) const {
    WriteDocuments(folder_ / name, {std::vector<int32_t>(600, 7)});
    return folder_ / name;
  }
  std::string Refusal() const {
    const absl::Status checked = Check(), kept = CheckAndKeep();
    EXPECT_EQ(checked.code(), absl::StatusCode::kFailedPrecondition) << checked;
    EXPECT_EQ(kept, checked);
    return std::string(checked.message());
  }

  const TemporaryFolder folder_;
  Options options_;
};

TEST_F(StudyData, MovedIsTheSame) {
  ASSERT_TRUE(CheckAndKeep().ok());
  Train("vanilla-d64");
  options_.train = Move("train", "moved");
  options_.valid = Move("valid", "moved-too");
  const std::string kept = folder_.Read("out/valid.textproto");
  EXPECT_TRUE(CheckAndKeep().ok()) << CheckAndKeep();
  EXPECT_EQ(folder_.Read("out/valid.textproto"), kept);
}

TEST_F(StudyData, OtherTrainingDataAreRefused) {
  Train("vanilla-d64");
  options_.train = Other("new");
  EXPECT_THAT(Refusal(),
              AllOf(HasSubstr("--data: token file " + folder_ / "new"), HasSubstr(folder_ / "train"),
                    HasSubstr("out/vanilla-d64"), HasSubstr("Give those it was begun with, or another --out")));
  EXPECT_FALSE(std::filesystem::exists(folder_ / "out/valid.textproto")) << "kept what was refused";
  // Prepared anew under its old name.
  options_.train = folder_ / "train";
  EXPECT_TRUE(Check().ok());
  Other("train");
  EXPECT_THAT(Refusal(), HasSubstr("--data: token file " + folder_ / "train"));
}

// Kinds, sizes and seeds that are added later stand beside those that were there.
TEST_F(StudyData, RunsOfEarlierCallsCountToo) {
  Train("photon-d128");
  options_.train = Other("new");
  options_.kinds = {Kind::kVanilla};
  options_.scale = *WithSizes(options_.scale, {"d64"});
  options_.seeds = 2;
  EXPECT_THAT(Refusal(), HasSubstr("out/photon-d128"));
}

TEST_F(StudyData, OtherValidationDataAreRefused) {
  ASSERT_TRUE(CheckAndKeep().ok());
  const std::string kept = folder_.Read("out/valid.textproto");
  options_.valid = Other("new");
  EXPECT_THAT(Refusal(), AllOf(HasSubstr("--valid: token file " + folder_ / "new"), HasSubstr(folder_ / "valid"),
                               HasSubstr("out/valid.textproto"), HasSubstr("or another --out")));
  EXPECT_EQ(folder_.Read("out/valid.textproto"), kept);
}

TEST_F(StudyData, FoldersOfBeforeAreKnownFromFirstSightOn) {
  Train("vanilla-d64", 10, /*knows_data=*/false);
  Train("block-d64");
  EXPECT_TRUE(Check().ok()) << Check();
  EXPECT_FALSE(std::filesystem::exists(folder_ / "out/valid.textproto")) << "only looked";
  EXPECT_TRUE(CheckAndKeep().ok()) << CheckAndKeep();
  options_.valid = Other("new");
  EXPECT_THAT(Refusal(), HasSubstr("--valid"));
}

TEST_F(StudyData, ABrokenCheckpointLeavesTheOneBefore) {
  Train("vanilla-d64", 10);
  Train("vanilla-d64", 20);
  folder_.Write("out/vanilla-d64/checkpoints/step-00000020/manifest.textproto", "torn");
  options_.train = Other("new");
  EXPECT_THAT(Refusal(), HasSubstr("out/vanilla-d64"));
}

TEST_F(StudyData, ADamagedRecordIsNamed) {
  folder_.Write("out/valid.textproto", "nme: 'x'");
  EXPECT_THAT(Check().message(), HasSubstr("out/valid.textproto"));
}

}  // namespace
}  // namespace photon::study
