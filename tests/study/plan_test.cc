#include "study/plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "absl/strings/str_cat.h"
#include "configs/config.h"
#include "model/flops.h"
#include "study/run_state.h"
#include "tests/support/temporary_folder.h"

namespace photon::study {
namespace {

using ::testing::HasSubstr;

Options OptionsOf(const std::string& scale, int64_t vocab_size) {
  Options options;
  options.train = "train";
  options.valid = "valid";
  options.out = "out";
  options.vocab_size = vocab_size;
  options.scale = *FindScale(scale);
  options.kinds = {std::begin(kKinds), std::end(kKinds)};
  return options;
}

class StudyPlan : public ::testing::TestWithParam<std::pair<const char*, int64_t>> {
 protected:
  const Options options_ = OptionsOf(GetParam().first, GetParam().second);
};

TEST_P(StudyPlan, EqualWorkWithinAStep) {
  const auto runs = Plan(options_);
  ASSERT_TRUE(runs.ok()) << runs.status();
  ASSERT_EQ(runs->size(), 9u);
  for (const PlannedRun& run : *runs) {
    EXPECT_LE(std::abs(run.flops() - run.size.flops), run.step_flops / 2) << run.name;
    EXPECT_EQ(run.step_flops,
              options_.scale.batch_sequences * TrainingFlops(run.config.model(), options_.scale.sequence_length))
        << run.name;
    EXPECT_EQ(run.step_tokens, runs->front().step_tokens) << run.name;
  }
}

TEST_P(StudyPlan, KindsHaveAboutAsManyParameters) {
  const auto runs = Plan(options_);
  ASSERT_TRUE(runs.ok()) << runs.status();
  const Spread spread = WidestSpread(*runs);
  EXPECT_LT(spread.ratio, 1.1) << spread.size;
  EXPECT_GT(spread.ratio, 1);  // PHOTON has its chunker on top
}

TEST_P(StudyPlan, RunsAreAlikeButForTheirModels) {
  const auto runs = Plan(options_);
  ASSERT_TRUE(runs.ok()) << runs.status();
  for (const PlannedRun& run : *runs) {
    const auto valid = ValidateRun(run.config, /*world_size=*/1);
    EXPECT_TRUE(valid.ok()) << run.name << ": " << valid;
    EXPECT_EQ(run.config.data().align(), 16) << "another alignment would score other tokens: " << run.name;
    const OptimizerConfig& optimizer = run.config.training().optimizer();
    EXPECT_EQ(optimizer.peak_lr(), PeakLearningRate(run.size.width)) << run.name;
    EXPECT_EQ(optimizer.warmup_steps(), run.steps() / 10) << run.name;
  }
}

INSTANTIATE_TEST_SUITE_P(Scales, StudyPlan,
                         ::testing::Values(std::pair{"tiny", int64_t{1024}}, std::pair{"small", int64_t{8192}},
                                           std::pair{"medium", int64_t{32000}}),
                         [](const auto& info) { return info.param.first; });

TEST(StudyPlanTest, LayersAreSharedOutAsInThePaper) {
  const Size size = FindScale("small")->sizes[0];
  EXPECT_EQ(ModelOf(Kind::kVanilla, size, 100).layers(), 12);
  const ModelConfig block = ModelOf(Kind::kBlock, size, 100);
  ASSERT_EQ(block.levels_size(), 1);
  EXPECT_EQ(block.levels(0).encoder_layers(), 6);
  EXPECT_EQ(block.levels(0).decoder_layers(), 6);
  const ModelConfig photon = ModelOf(Kind::kPhoton, size, 100);
  ASSERT_EQ(photon.levels_size(), 2);
  for (const LevelConfig& level : photon.levels()) {
    EXPECT_EQ(level.encoder_layers(), 3);
    EXPECT_EQ(level.decoder_layers(), 3);
  }
}

TEST(StudyPlanTest, BudgetsAndSeeds) {
  Options options = OptionsOf("tiny", 512);
  options.scale = *WithSizes(options.scale, {"d64"});
  options.flops = {1e12};
  options.budget = 0.5;
  options.seeds = 2;
  const auto runs = Plan(options);
  ASSERT_TRUE(runs.ok()) << runs.status();
  ASSERT_EQ(runs->size(), 6u);
  EXPECT_EQ((*runs)[4].name, "photon-d64");
  EXPECT_EQ((*runs)[5].name, "photon-d64-seed2");
  EXPECT_EQ((*runs)[5].config.run_dir(), "out/photon-d64-seed2");
  EXPECT_EQ((*runs)[5].config.training().seed(), 2u);
  EXPECT_EQ((*runs)[5].config.data().seed(), 2u);
  EXPECT_LE(std::abs((*runs)[5].flops() - 5e11), (*runs)[5].step_flops / 2);
}

TEST(StudyPlanTest, Refusals) {
  Options options = OptionsOf("tiny", 512);
  options.flops = {1e12};
  EXPECT_THAT(Plan(options).status().message(), HasSubstr("--flops: 1 numbers for 3 sizes"));
  options.flops = {1e12, 1e12, 1};
  EXPECT_THAT(Plan(options).status().message(), HasSubstr("vanilla-d128: 1 FLOPs don't pay for a step"));
  EXPECT_THAT(ParseKind("photn").status().message(), HasSubstr("did you mean \"photon\"?"));
  EXPECT_THAT(FindScale("large").status().message(), HasSubstr("tiny"));
  EXPECT_THAT(WithSizes(options.scale, {"d65"}).status().message(), HasSubstr("did you mean \"d64\"?"));
}

TEST(StudyRunState, TimeLeftFollowsFromWorkDone) {
  std::vector<PlannedRun> runs = *Plan(OptionsOf("tiny", 512));
  runs.resize(2);
  std::vector<RunState> states(2);
  EXPECT_LT(SecondsLeft(runs, states), 0);
  states[0] = {.finished = true, .steps = runs[0].steps(), .seconds_per_step = 2, .valid_loss = 1, .valid_tokens = 1};
  // As much work as the first took, at its speed.
  const double seconds = 2.0 * static_cast<double>(runs[0].steps());
  EXPECT_NEAR(SecondsLeft(runs, states), seconds * runs[1].flops() / runs[0].flops(), 1e-6 * seconds);
  states[1].steps = runs[1].steps() - 10;
  states[1].seconds_per_step = 3;
  EXPECT_NEAR(SecondsLeft(runs, states), 30, 1e-9);
}

TEST(StudyRunState, AFolderOfAnotherConfigIsRefused) {
  const testing::TemporaryFolder folder;
  PlannedRun run = (*Plan(OptionsOf("tiny", 512)))[0];
  run.config.set_run_dir(folder.path());
  EXPECT_EQ(ReadRunState(run)->steps, 0);  // nothing there yet
  RunConfig begun = Resolved(run.config, 1);
  begun.mutable_data()->set_train("moved");
  folder.Write("config.textproto", ToText(begun));
  folder.Write("metrics.jsonl",
               "{\"step\":1,\"step_s\":1}\n{\"step\":1,\"step_s\":100}\n{\"step\":2,\"step_s\":0.5}\n"
               "{\"step\":2,\"valid_loss\":4.5,\"valid_tokens\":100}\n{\"step\":3,\"st");
  const auto state = ReadRunState(run);
  ASSERT_TRUE(state.ok()) << state.status();
  EXPECT_FALSE(state->finished);
  EXPECT_EQ(state->steps, 2);
  EXPECT_EQ(state->seconds_per_step, 1);
  EXPECT_EQ(state->seconds, 101.5);
  EXPECT_EQ(state->valid_loss, 4.5);
  EXPECT_EQ(state->valid_step, 2);
  run.config.mutable_training()->set_steps(run.steps() + 1);
  const auto refused = ReadRunState(run).status();
  EXPECT_EQ(refused.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(refused.message(), HasSubstr("is of a run with other options (\"steps: "));
}

// An earlier validation must not stand for the last.
TEST(StudyRunState, TheLastValidationCounts) {
  const testing::TemporaryFolder folder;
  PlannedRun run = (*Plan(OptionsOf("tiny", 512)))[0];
  run.config.set_run_dir(folder.path());
  folder.Write("config.textproto", ToText(Resolved(run.config, 1)));
  const std::string earlier = "{\"step\":2,\"valid_loss\":4.5,\"valid_tokens\":100}\n";
  folder.Write("metrics.jsonl", earlier);
  folder.Write("finished", "");
  const auto missing = ReadRunState(run).status();
  EXPECT_EQ(missing.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(missing.message(), HasSubstr(absl::StrCat("has no validation of step ", run.steps())));
  const std::string at = absl::StrCat("{\"step\":", run.steps());
  folder.Write("metrics.jsonl", absl::StrCat(earlier, at, ",\"valid_loss\":null,\"valid_tokens\":100}\n"));
  const auto no_number = ReadRunState(run);
  ASSERT_TRUE(no_number.ok()) << no_number.status();
  EXPECT_TRUE(std::isnan(no_number->valid_loss));
}

}  // namespace
}  // namespace photon::study
