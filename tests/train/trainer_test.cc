// The step computes the same thing however the batch is spread, and notices when it goes wrong.
#include <gmock/gmock.h>

#include <cmath>
#include <limits>

#include "tests/train/training_run.h"

namespace photon {
namespace {

using namespace photon::testing;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class TrainerTest : public ::testing::Test {
 protected:
  const TemporaryFolder folder_;
  const std::shared_ptr<const TokenFile> tokens_ = WriteTokens(folder_ / "tokens");
};

double MaxDifference(const std::vector<double>& a, const std::vector<double>& b) {
  double worst = 0;
  for (size_t i = 0; i < a.size(); ++i) worst = std::max(worst, std::abs(a[i] - b[i]));
  return worst;
}

TEST_F(TrainerTest, AnyNumberOfRanksAndMicrobatchesComputeTheSame) {
  // Adam divides by the gradient's own size, so with a tiny eps an element that is zero but for rounding moves by a
  // whole lr. With eps = 0.1 an update is Lipschitz in the gradient: |d update / d g| <= 3 lr / eps (1 / eps through m,
  // 2 / eps through v, whose root is at most twice as large as |m| here).
  constexpr double kEps = 0.1, kLr = 1e-2;
  constexpr int kSteps = 5;
  RunConfig config = TinyRun(folder_ / "run");
  config.mutable_training()->mutable_optimizer()->set_eps(kEps);
  config.mutable_training()->mutable_optimizer()->set_peak_lr(kLr);
  config.mutable_training()->mutable_optimizer()->set_warmup_steps(0);
  const Outcome alone = TrainSteps(1, config, tokens_, kSteps);
  double norm = 0, moved = 0;
  for (const StepMetrics& step : alone.steps) norm = std::max(norm, step.grad_norm);
  moved = MaxDifference(alone.master, TrainSteps(1, config, tokens_, 0).master);

  // Another split only reorders sums over the N = 768 rows of the batch: at most N u of the sum of magnitudes, in
  // practice (random signs) sqrt(N) u = 28 u of it; that sum is taken as 10 times the gradient's norm. Five steps add
  // up, and each step's changed parameters change the next one's gradient by less than the rounding again: a factor 2.
  const double gradient_error = 28 * 0x1p-24 * 10 * norm;
  const double bound = 2 * kSteps * 3 * kLr / kEps * gradient_error;
  ASSERT_LT(bound, moved / 50) << "the test would not see an update that is wrong by a few percent";
  struct Split {
    int ranks, micro;
  };
  for (const auto& [ranks, micro] : {Split{2, 0}, Split{3, 0}, Split{4, 0}, Split{1, 1}, Split{1, 4}, Split{2, 3}}) {
    if (micro > 0) config.mutable_training()->set_micro_batch_sequences(micro);
    if (micro == 0) config.mutable_training()->clear_micro_batch_sequences();
    const Outcome split = TrainSteps(ranks, config, tokens_, kSteps);
    SCOPED_TRACE(::testing::Message() << ranks << " ranks, micro-batches of " << micro);
    EXPECT_LE(MaxDifference(split.master, alone.master), bound);
    for (int i = 0; i < kSteps; ++i) {
      // The loss moves with the parameters, by at most norm * sqrt(elements) * bound; its own sum rounds like the
      // gradient.
      const double loss_bound =
          norm * std::sqrt(static_cast<double>(alone.master.size())) * bound + 280 * 0x1p-24 * alone.steps[i].loss;
      EXPECT_NEAR(split.steps[i].loss, alone.steps[i].loss, loss_bound) << "step " << i + 1;
      EXPECT_NEAR(split.steps[i].rec, alone.steps[i].rec, loss_bound) << "step " << i + 1;
      EXPECT_EQ(split.steps[i].tokens, alone.steps[i].tokens);
      EXPECT_EQ(split.steps[i].lr, alone.steps[i].lr);
    }
    EXPECT_EQ(split.state.tokens_seen(), alone.state.tokens_seen());
  }
}

TEST_F(TrainerTest, TheSameRunTwiceIsTheSameToTheBit) {
  RunConfig config = TinyRun(folder_ / "run");
  for (const char* dtype : {"f32", "bf16"}) {
    config.mutable_training()->set_dtype(dtype);
    const Outcome first = TrainSteps(2, config, tokens_, 4);
    ExpectSameBits(TrainSteps(2, config, tokens_, 4), first);
    EXPECT_LT(first.steps.back().loss, first.steps.front().loss);
  }
}

TEST_F(TrainerTest, StateBeginsEmpty) {
  const Outcome outcome = TrainSteps(1, TinyRun(folder_ / "run"), tokens_, 0);
  EXPECT_EQ(outcome.state.step(), 0);
  EXPECT_EQ(outcome.state.updates(), 0);
  EXPECT_EQ(outcome.state.tokens_seen(), 0);
  EXPECT_EQ(outcome.state.skipped_in_row(), 0);
  EXPECT_EQ(outcome.state.grad_norm_mean(), 0);
}

// The first step's loss is the mean over the scored tokens of the batch, as scoring that batch finds it.
TEST_F(TrainerTest, LossIsTheMeanOverScoredTokens) {
  RunConfig config = TinyRun(folder_ / "run");
  config.mutable_training()->set_micro_batch_sequences(3);
  double scored_loss = 0;
  int64_t tokens = 0;
  const Outcome outcome = Train(2, config, tokens_, [&](RankRun& run, int rank) -> absl::Status {
    PHOTON_ASSIGN_OR_RETURN(const TokenBatch mine, run.dataset().Batch(0, 12, 6 * rank, 6));
    PHOTON_ASSIGN_OR_RETURN(const Trainer::Validation validation, run.trainer().Validate({mine}));
    if (rank == 0) scored_loss = validation.loss, tokens = validation.tokens;
    return run.TrainTo(1);
  });
  EXPECT_LT(static_cast<double>(tokens), outcome.steps[0].tokens) << "first tokens are real and not scored";
  // The same sums in other pieces: each token's loss carries some tens of f32 roundings. One token more would be 1e-3.
  EXPECT_NEAR(outcome.steps[0].ce, scored_loss, 50 * 0x1p-24 * scored_loss);
  EXPECT_EQ(outcome.steps[0].loss, outcome.steps[0].ce + 0.3 * outcome.steps[0].rec);
}

TEST_F(TrainerTest, LearnsWhatCanBeLearned) {
  RunConfig config = TinyRun(folder_ / "run");
  config.mutable_training()->set_steps(60);
  const Outcome outcome = TrainSteps(1, config, tokens_, 60);
  EXPECT_NEAR(outcome.steps.front().ce, std::log(kVocab), 0.3) << "a fresh model knows nothing";
  EXPECT_LT(outcome.steps.back().ce, 0.8 * std::log(kVocab));
  EXPECT_EQ(outcome.state.updates(), 60);
  EXPECT_GT(outcome.steps.front().memory_bytes, 0);
}

// A parameter that is poisoned makes the loss NaN: no update may touch anything, on no rank, and the run stops itself.
TEST_F(TrainerTest, NotANumberIsSkippedThenStopsTheRun) {
  RunConfig config = TinyRun(folder_ / "run");
  config.mutable_training()->mutable_health()->set_max_skipped_in_row(2);
  const std::vector<absl::Status> statuses =
      OnTrainingRanks(2, config, tokens_, [](RankRun& run, int rank) -> absl::Status {
        PHOTON_RETURN_IF_ERROR(run.TrainTo(2));
        // On one rank alone: what it sums up reaches all.
        Parameter* norm = run.trainer().model().parameters().Find("level.1.encoder.norm.weight");
        if (norm == nullptr) return absl::NotFoundError("the parameter to poison");
        if (rank == 1) norm->master.data<float>()[0] = std::numeric_limits<float>::quiet_NaN();
        const std::vector<double> before = run.Result().m;
        const absl::Status stopped = run.TrainTo(10);
        const Outcome after = run.Result();
        ExpectSameBits(after.m, before, "moments");
        EXPECT_EQ(after.state.updates(), 2);
        EXPECT_EQ(after.state.step(), 5);
        EXPECT_EQ(after.state.skipped_in_row(), 3);
        EXPECT_THAT(after.steps.back().skipped, HasSubstr("loss is nan"));
        return stopped;
      });
  for (const absl::Status& status : statuses) {
    EXPECT_EQ(status.code(), absl::StatusCode::kAborted);
    EXPECT_THAT(std::string(status.message()), HasSubstr("step 5 (sequences 48 to 59 of the sample order)"));
  }
}

TEST_F(TrainerTest, ASkippedStepIsOverWhenTheNextIsGood) {
  RunConfig config = TinyRun(folder_ / "run");
  config.mutable_training()->mutable_health()->set_max_skipped_in_row(1);
  const Outcome outcome = Train(1, config, tokens_, [](RankRun& run, int) -> absl::Status {
    PHOTON_RETURN_IF_ERROR(run.TrainTo(2));
    float& value = run.trainer().model().parameters().Find("level.1.encoder.norm.weight")->master.data<float>()[0];
    const float good = value;
    value = std::numeric_limits<float>::infinity();
    PHOTON_RETURN_IF_ERROR(run.TrainTo(3));
    value = good;
    return run.TrainTo(5);
  });
  EXPECT_FALSE(outcome.steps[2].skipped.empty());
  EXPECT_THAT(outcome.steps[3].skipped, IsEmpty());
  EXPECT_EQ(outcome.state.step(), 5);
  EXPECT_EQ(outcome.state.updates(), 4);
  EXPECT_EQ(outcome.state.skipped_in_row(), 0);
}

// After the first step the arena has all it needs.
TEST_F(TrainerTest, MemoryIsSteadyAfterTheFirstStep) {
  const Outcome outcome = TrainSteps(1, TinyRun(folder_ / "run"), tokens_, 4);
  for (int i = 2; i < 4; ++i) EXPECT_EQ(outcome.steps[i].memory_bytes, outcome.steps[1].memory_bytes);
}

}  // namespace
}  // namespace photon
