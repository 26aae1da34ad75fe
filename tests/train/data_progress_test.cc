#include "train/data_progress.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "absl/strings/str_cat.h"
#include "data/open.h"
#include "tests/data/temporary.h"
#include "train/early_stop.h"

namespace photon {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::TemporaryFolder;
using testing::WriteDocuments;

// Sources a and b with 12 and 4 samples of 8 tokens.
class DataProgressTest : public ::testing::Test {
 protected:
  DataProgressTest() {
    WriteDocuments(folder_ / "a", {std::vector<int32_t>(96, 5)});
    WriteDocuments(folder_ / "b", {std::vector<int32_t>(32, 6)});
    config_.mutable_data()->set_sequence_length(8);
    config_.mutable_data()->set_valid_fraction(0);
    for (const char* name : {"a", "b"}) {
      DataSource& source = *config_.mutable_data()->add_source();
      source.set_prefix(folder_ / name);
      source.set_weight(0.5);
    }
    config_.mutable_training()->set_batch_sequences(2);
    config_.mutable_training()->set_steps(20);
  }
  absl::StatusOr<DataProgress> Make() {
    return DataProgress::Create(config_, OpenData(config_.data(), 1000, 1)->train);
  }
  std::vector<DataFile> Identify() { return *Make()->Identify(); }

  TemporaryFolder folder_;
  RunConfig config_;
};

TEST_F(DataProgressTest, RepeatsOrStopsAsAsked) {
  EXPECT_EQ(Make()->last_step(), 20);
  EXPECT_THAT(Make()->Plan()[1], HasSubstr("4 samples of 8 tokens, 50 % of the batches; 20 steps are 5.00 epochs"));
  EXPECT_THAT(Make()->EpochsBegun(5), ElementsAre(HasSubstr("epoch 2 of")));  // b's ranks 0 to 3 are steps 1 to 4
  EXPECT_THAT(Make()->EpochsBegun(4), ElementsAre());
  config_.mutable_data()->set_at_end(DataConfig::STOP);
  EXPECT_EQ(Make()->last_step(), 4);
  EXPECT_TRUE(Make()->ends_early());
  ASSERT_EQ(Make()->Plan().size(), 3u);
  EXPECT_THAT(Make()->Plan()[2], AllOf(HasSubstr("end after step 4 of training.steps = 20"), HasSubstr("schedule"),
                                       HasSubstr("set training.steps=4")));
  config_.mutable_training()->set_steps(3);
  EXPECT_EQ(Make()->last_step(), 3);
  EXPECT_FALSE(Make()->ends_early());
  EXPECT_EQ(Make()->Plan().size(), 2u);
  config_.mutable_training()->set_batch_sequences(100);
  EXPECT_EQ(Make().status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(Make().status().message(), HasSubstr("data.at_end is STOP"));
}

TEST_F(DataProgressTest, OtherDataThanTheRunBeganWithAreRefused) {
  const std::vector<DataFile> began = Identify();
  EXPECT_TRUE(CheckSameData(began, Identify()).ok());
  EXPECT_TRUE(CheckSameData({}, began).ok()) << "an older checkpoint";
  std::filesystem::rename(folder_ / "b.bin", folder_ / "c.bin");
  std::filesystem::rename(folder_ / "b.idx", folder_ / "c.idx");
  config_.mutable_data()->mutable_source(1)->set_prefix(folder_ / "c");
  EXPECT_TRUE(CheckSameData(began, Identify()).ok()) << "moved, and the same";
  config_.mutable_data()->mutable_source(1)->set_weight(0.4);
  config_.mutable_data()->mutable_source(0)->set_weight(0.6);
  EXPECT_THAT(CheckSameData(began, Identify()).message(), HasSubstr("the weight of"));
  config_.mutable_data()->mutable_source(1)->set_weight(0.5);
  config_.mutable_data()->mutable_source(0)->set_weight(0.5);
  std::vector<int32_t> other(32, 6);
  other[17] = 7;
  WriteDocuments(folder_ / "c", {other});
  const absl::Status status = CheckSameData(began, Identify());
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(status.message(), HasSubstr("/c is not the one"));
  EXPECT_THAT(status.message(), HasSubstr("data.accept_changed"));
  EXPECT_THAT(status.message(), HasSubstr(absl::StrCat("began with (", folder_ / "b", ")"))) << "where it lay";
  EXPECT_FALSE(CheckSameData(began, {began[0]}).ok());
  EXPECT_FALSE(CheckSameData({began[0]}, began).ok());
}

EarlyStopConfig Patience(int patience, double min_delta) {
  EarlyStopConfig config;
  config.set_patience(patience);
  config.set_min_delta(min_delta);
  return config;
}

TEST(EarlyStop, CountsValidationsThatAreNoBetter) {
  EarlyStop stop(Patience(2, 0.1));
  EXPECT_TRUE(stop.Add(10, 5.0));
  EXPECT_FALSE(stop.Add(20, 4.95)) << "within min_delta";
  EXPECT_TRUE(stop.Add(30, 4.8));
  EXPECT_FALSE(stop.Add(40, 4.75));
  EXPECT_FALSE(stop.due());
  EXPECT_FALSE(stop.Add(40, 4.75)) << "the same step again";
  EXPECT_FALSE(stop.due());
  EXPECT_FALSE(stop.Add(50, std::numeric_limits<double>::quiet_NaN()));
  EXPECT_TRUE(stop.due());
  EXPECT_THAT(stop.Message(), HasSubstr("step 30, validation loss 4.8000"));
}

TEST(EarlyStop, SurvivesAResume) {
  EarlyStop before(Patience(2, 0));
  before.Add(10, 3);
  before.Add(20, 4);
  RunState state;
  state.set_step(20);
  before.Save(&state);
  EXPECT_EQ(state.best_step(), 10);
  EarlyStop after(Patience(2, 0));
  after.Restore(state);
  EXPECT_FALSE(after.due());
  EXPECT_FALSE(after.Add(30, 3.5));
  EXPECT_TRUE(after.due());
  EXPECT_THAT(after.Message(), HasSubstr("step 10"));
}

// The best validation is one thing, the best checkpoint that is on disk another.
TEST(EarlyStop, ABestStepThatWasNotSavedIsNotWhatIsKept) {
  EarlyStop stop(Patience(1, 0));
  const auto state_of = [&](int64_t step) {
    RunState state;
    state.set_step(step);
    stop.Save(&state);
    return state;
  };
  stop.Add(10, 5.0);
  const RunState first = state_of(10);
  EXPECT_EQ(first.best_saved_step(), 10) << "true of a state that is read only from that checkpoint";
  EXPECT_FALSE(state_of(15).has_best_saved_step()) << "not known to be on disk yet";
  stop.Saved(first);
  stop.Add(20, 4.0);  // and its save fails
  EXPECT_EQ(state_of(20).best_saved_step(), 20);
  const RunState next = state_of(25);
  EXPECT_EQ(next.best_step(), 20);
  EXPECT_EQ(next.best_saved_step(), 10);
  stop.Saved(next);
  EXPECT_FALSE(stop.Add(30, 4.5));
  ASSERT_TRUE(stop.due());
  EXPECT_THAT(stop.Message(), HasSubstr("step 20, validation loss 4.0000; its checkpoint could not be saved, that of "
                                        "step 10, the best before, is kept"));
  EarlyStop resumed(Patience(1, 0));
  resumed.Restore(next);
  resumed.Add(30, 4.5);
  EXPECT_EQ(resumed.Message(), stop.Message());

  EarlyStop saved(Patience(1, 0));
  saved.Restore(first);
  saved.Add(20, 6.0);
  EXPECT_THAT(saved.Message(), HasSubstr("step 10, validation loss 5.0000; its checkpoint is kept"));
}

TEST(EarlyStop, IsOffByDefault) {
  EarlyStop stop{EarlyStopConfig()};
  for (int step = 0; step < 100; ++step) EXPECT_FALSE(stop.Add(step, step));
  EXPECT_FALSE(stop.due());
  RunState state;
  stop.Save(&state);
  EXPECT_FALSE(state.has_best_step());
}

}  // namespace
}  // namespace photon
