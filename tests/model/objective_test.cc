// The loss: its value, its gradient for every flag, and that slices, microbatches and recomputation change nothing.
#include "model/objective.h"

#include <gtest/gtest.h>

#include <map>

#include "absl/strings/match.h"
#include "model/training_stage.h"
#include "tests/support/models.h"
#include "tests/support/reference_model.h"
#include "tests/support/tensors.h"

namespace photon::testing {
namespace {

// Two sequences: one document with padding at its end, and two documents.
TokenBatch PaddedBatch(int64_t unit, int vocab) {
  TokenBatch batch = TokenBatch::FromIds(RandomTokens(4 * unit, vocab, 21), 1, true);
  batch.sequences = 2;
  batch.length = 2 * unit;
  for (int64_t i = 3 * unit; i < 4 * unit; ++i) batch.document_begin[i] = static_cast<int32_t>(unit);
  for (int64_t i = unit + 1; i < 2 * unit; ++i) batch.real[i] = batch.scored[i] = 0;
  for (int64_t i : {int64_t{0}, 2 * unit, 3 * unit}) batch.scored[i] = 0;
  return batch;
}

struct Case {
  TinyModel model;
  double alpha = 0;
  bool stop_gradient = true;
  bool level_one = false;
};

void PrintTo(const Case& c, std::ostream* out) {
  *out << Describe(c.model) << ", alpha " << c.alpha << (c.stop_gradient ? "" : ", no stop-gradient")
       << (c.level_one ? ", l = 1 term" : "");
}

std::vector<Case> Cases() {
  std::vector<Case> cases = {{.model = {.chunks = {}}}, {.model = {.chunks = {3}}, .alpha = 0.3, .level_one = true}};
  for (const TinyModel& model : AllFlags({.chunks = {2, 3}, .width = 12, .heads = 2, .kv_heads = 1, .vocab = 7})) {
    cases.push_back({.model = model, .alpha = 0.7});
    cases.push_back({.model = model, .alpha = 0.7, .stop_gradient = false, .level_one = true});
  }
  cases.push_back({.model = {.chunks = {2, 2, 2}, .width = 8, .heads = 2, .kv_heads = 2, .vocab = 5}, .alpha = 0.3});
  return cases;
}

ObjectiveConfig ObjectiveOf(const Case& c) {
  ObjectiveConfig objective;
  objective.set_alpha(c.alpha);
  objective.set_stop_gradient(c.stop_gradient);
  objective.set_level_one_term(c.level_one);
  return objective;
}

std::vector<const ModelInput*> Pointers(const std::vector<ModelInput>& inputs) {
  std::vector<const ModelInput*> pointers;
  for (const ModelInput& input : inputs) pointers.push_back(&input);
  return pointers;
}

class Objective : public ::testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    model_ = MakeModel(context_, GetParam().model, DType::kF64, DType::kF64);
    int64_t unit = 1;
    for (int chunk : GetParam().model.chunks) unit *= chunk;
    batch_ = PaddedBatch(unit < 4 ? 4 * unit : unit, GetParam().model.vocab);
    counts_ = LossCounts::Of(model_->config(), batch_);
  }

  // The sum of nll, then of the distances of each level.
  std::vector<double> LossSums() const {
    Tape tape(context_, Tape::Mode::kEvaluate);
    const ModelInput input(context_, *model_, batch_);
    const Tensor sums = NoLoss();
    AddLoss(context_, input, ComputeLoss(*model_, tape, input, ObjectiveOf(GetParam()), {}), sums);
    return ToDoubles(context_, sums);
  }
  Tensor NoLoss() const { return context_.get().Zeros({1 + model_->levels()}, DType::kF64); }
  double Evaluate() const {
    const std::vector<double> sums = LossSums();
    double loss = sums[0] / static_cast<double>(counts_.tokens);
    for (size_t l = 1; l < sums.size(); ++l) {
      loss += GetParam().alpha * sums[l] / static_cast<double>(counts_.units[l - 1]);
    }
    return loss;
  }
  std::vector<double> Gradient(const std::vector<TokenBatch>& microbatches, const ForwardOptions& options,
                               bool split = false) {
    model_->parameters().ZeroGradients(context_);
    TrainingStage stage(*model_, context_, ObjectiveOf(GetParam()), options);
    const std::vector<ModelInput> inputs = Inputs(microbatches);
    stage.BeginStep(Pointers(inputs), NoLoss(), {});
    const int n = static_cast<int>(microbatches.size());
    for (int i = 0; i < n; ++i) stage.Forward(i, 0, {}, i == n - 1);  // all forward passes before the first backward
    for (int i = 0; i < n; ++i) stage.Backward(i, 0, {}, split);
    for (int i = 0; split && i < n; ++i) stage.WeightGradients(i, 0);
    return ToDoubles(context_, model_->parameters().gradient());
  }

  std::vector<ModelInput> Inputs(const std::vector<TokenBatch>& microbatches) const {
    std::vector<ModelInput> inputs;
    for (const TokenBatch& batch : microbatches) {
      inputs.emplace_back(context_, *model_, batch, counts_.Scales(ObjectiveOf(GetParam())));
    }
    return inputs;
  }

  TestContext context_;
  std::unique_ptr<LanguageModel> model_;
  TokenBatch batch_;
  LossCounts counts_;
};
INSTANTIATE_TEST_SUITE_P(AllFlags, Objective, ::testing::ValuesIn(Cases()),
                         [](const auto& info) { return "n" + std::to_string(info.index); });

TEST_P(Objective, ValueIsTheDefinition) {
  SCOPED_TRACE(Describe(GetParam().model));
  double nll = 0;
  int64_t scored = 0;
  for (int s = 0; s < 2; ++s) {
    const TokenBatch one = batch_.Sequences(s, s + 1);
    const ReferenceOutput want = ReferenceForward(context_, *model_, one.tokens, one.document_begin);
    for (int64_t i = 0; i < one.length; ++i) {
      if (!one.scored[i]) continue;
      nll -= LogSoftmax(want.logits[i - model_->target_offset()])[one.tokens[i]];
      ++scored;
    }
  }
  EXPECT_EQ(counts_.tokens, scored);
  EXPECT_NEAR(LossSums()[0], nll, 1e-9 * nll);
}

// Gradients against differences of the loss. A perturbed forward also moves the encoder states that L_rec aims at,
// which the stop-gradient holds still: with it, only parameters that no target depends on can be compared like this.
TEST_P(Objective, GradientIsTheDerivative) {
  SCOPED_TRACE(Describe(GetParam().model));
  Gradient({batch_}, {});
  const bool holds_targets = GetParam().stop_gradient && GetParam().alpha != 0;
  int checked = 0;
  for (const std::unique_ptr<Parameter>& p : model_->parameters().parameters()) {
    const bool decodes = absl::StrContains(p->spec.name, ".decoder.") ||
                         absl::StrContains(p->spec.name, ".converter.") || absl::StrContains(p->spec.name, ".start");
    if (holds_targets && !decodes) continue;
    ++checked;
    ExpectGradient(
        context_, p->master, p->gradient, [&] { return Evaluate(); }, p->spec.name, 6);
  }
  EXPECT_GT(checked, 4);
}

TEST(StopGradient, KeepsTheReconstructionLossOutOfItsTargets) {
  TestContext context;
  const auto model = MakeModel(context, {.chunks = {2, 2}, .width = 8, .heads = 2, .kv_heads = 2});
  const TokenBatch batch = PaddedBatch(4, 19);
  const LossCounts counts = LossCounts::Of(model->config(), batch);
  // The last layer norm of encoder 1 reaches the loss as contents and as target. Its gradient differs by the target's
  // part.
  const auto gradient = [&](bool stop) {
    ObjectiveConfig objective;
    objective.set_alpha(0.5);
    objective.set_stop_gradient(stop);
    model->parameters().ZeroGradients(context);
    Tape tape(context, Tape::Mode::kRecord);
    ComputeLoss(*model, tape, ModelInput(context, *model, batch, counts.Scales(objective)), objective, {});
    tape.Backward();
    return ToDoubles(context, model->parameters().Find("level.1.encoder.norm.weight")->gradient);
  };
  EXPECT_NE(gradient(true), gradient(false));
}

TEST_P(Objective, SlicesMicrobatchesRecomputationAndSplitWeightsAgree) {
  SCOPED_TRACE(Describe(GetParam().model));
  const std::vector<double> want = Gradient({batch_}, {});
  double largest = 0;
  for (double g : want) largest = std::max(largest, std::abs(g));
  ASSERT_GT(largest, 0);
  const double bound = 1e-11 * largest * want.size();  // f64 roundings of sums in another order
  ExpectNear(Gradient({batch_}, {.slice_tokens = 5}), want, bound, "slices");
  ExpectNear(Gradient({batch_}, {.recompute = true}), want, bound, "recomputation");
  ExpectNear(Gradient({batch_.Sequences(0, 1), batch_.Sequences(1, 2)}, {}), want, bound, "microbatches");
  ExpectNear(Gradient({batch_}, {.slice_tokens = 4, .recompute = true}, /*split=*/true), want, bound, "split weights");
}

TEST_P(Objective, HookFiresOncePerParameterWithItsFinalGradient) {
  SCOPED_TRACE(Describe(GetParam().model));
  const std::vector<double> want = Gradient({batch_.Sequences(0, 1), batch_.Sequences(1, 2)}, {.slice_tokens = 4});
  model_->parameters().ZeroGradients(context_);
  std::map<std::string, std::vector<double>> seen;
  TrainingStage stage(*model_, context_, ObjectiveOf(GetParam()), {.slice_tokens = 4, .recompute = true});
  const std::vector<ModelInput> inputs = Inputs({batch_.Sequences(0, 1), batch_.Sequences(1, 2)});
  const Tape::GradientHook hook = [&](Parameter& p) {
    EXPECT_FALSE(seen.contains(p.spec.name)) << p.spec.name << " twice";
    seen[p.spec.name] = ToDoubles(context_, p.gradient);
  };
  stage.BeginStep(Pointers(inputs), NoLoss(), {.complete = hook, .needed = {}});
  for (int i = 0; i < 2; ++i) {
    stage.Forward(i, 0, {}, i == 1);
    stage.Backward(i, 0, {}, false);
  }
  for (const std::unique_ptr<Parameter>& p : model_->parameters().parameters()) {
    ASSERT_TRUE(seen.contains(p->spec.name)) << p->spec.name;
    EXPECT_EQ(seen[p->spec.name], ToDoubles(context_, p->gradient)) << p->spec.name << ": not final when reported";
  }
}

TEST(LossCountsOf, CountsTokensAndUnits) {
  const ModelConfig config = ConfigOf({.chunks = {2, 2}});
  TokenBatch batch = TokenBatch::FromIds(RandomTokens(5, 9, 1), 4, /*score_first=*/false);
  const LossCounts counts = LossCounts::Of(config, batch);
  EXPECT_EQ(counts.tokens, 4);
  EXPECT_EQ(counts.units, (std::vector<int64_t>{5, 3}));  // of 8 tokens and 4 level-1 units
}

TEST(Arena, StopsGrowingAfterTheFirstStep) {
  TestContext context;
  const auto model = MakeModel(context, {});
  const TokenBatch batch = PaddedBatch(16, 19);
  const LossCounts counts = LossCounts::Of(model->config(), batch);
  TrainingStage stage(*model, context, ObjectiveConfig(), {.slice_tokens = 16});
  const Tensor sums = context.get().Zeros({1 + model->levels()}, DType::kF64);
  int64_t grown = 0;
  for (int step = 0; step < 4; ++step) {
    const ModelInput input(context, *model, batch, counts.Scales(ObjectiveConfig()));
    stage.BeginStep({&input}, sums, {});
    stage.Forward(0, 0, {}, true);
    stage.Backward(0, 0, {}, false);
    if (step == 0) grown = context.arena().grown();
  }
  EXPECT_EQ(context.arena().grown(), grown);
}

}  // namespace
}  // namespace photon::testing
