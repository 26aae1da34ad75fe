// Loss and gradients of whole models on a GPU are the CPU's, for every number
// of levels and every flag.
#include <gtest/gtest.h>

#include <cmath>

#include "model/training_stage.h"
#include "tests/support/gpu.h"
#include "tests/support/models.h"

namespace photon::testing {
namespace {

std::vector<TinyModel> Models() {
  std::vector<TinyModel> models = {{.chunks = {}, .kv_heads = 2}, {.chunks = {3}}};
  for (const TinyModel& tiny : AllFlags({.chunks = {2, 3}, .width = 12, .heads = 2, .kv_heads = 1})) {
    models.push_back(tiny);
  }
  models.push_back({.chunks = {2, 2, 2}, .width = 16, .heads = 2, .kv_heads = 2});
  for (TinyModel& tiny : models) tiny.loudness = TinyModel::kOrdinary;
  return models;
}

// Two sequences: one document with unscored tokens, and two documents.
TokenBatch Batch(int64_t unit, int vocab) {
  TokenBatch batch = TokenBatch::FromIds(RandomTokens(4 * unit, vocab, 21), 1, true);
  batch.sequences = 2;
  batch.length = 2 * unit;
  for (int64_t i = 3 * unit; i < 4 * unit; ++i) batch.document_begin[i] = static_cast<int32_t>(unit);
  for (int64_t i : {int64_t{0}, 2 * unit - 1, 2 * unit, 3 * unit}) batch.scored[i] = 0;
  return batch;
}

struct Result {
  double loss;
  std::vector<double> gradient;
};

Result Compute(OpenedDevice& device, const TinyModel& tiny, DType compute, const ForwardOptions& options) {
  const Context context = device.MakeContext(nullptr);
  const auto model = MakeModel(context, tiny, DType::kF32, compute);
  ObjectiveConfig objective;
  objective.set_alpha(0.7);
  objective.set_stop_gradient(false);  // all gradients there are
  objective.set_level_one_term(true);
  int64_t unit = 1;
  for (const int chunk : tiny.chunks) unit *= chunk;
  const TokenBatch batch = Batch(unit < 4 ? 4 * unit : unit, tiny.vocab);
  const LossCounts counts = LossCounts::Of(model->config(), batch);
  const ModelInput input(context, *model, batch, counts.Scales(objective));
  const Tensor sums = context.Zeros({1 + model->levels()}, DType::kF64);
  TrainingStage stage(*model, context, objective, options);
  stage.BeginStep({&input}, sums, {});
  stage.Forward(0, 0, {}, /*last=*/true);
  stage.Backward(0, 0, {}, /*split_weights=*/false);
  const std::vector<double> parts = ToDoubles(context, sums);
  double loss = parts[0] / static_cast<double>(counts.tokens);
  for (size_t l = 1; l < parts.size(); ++l) {
    loss += objective.alpha() * parts[l] / static_cast<double>(counts.units[l - 1]);
  }
  return {loss, ToDoubles(context, model->parameters().gradient())};
}

double Distance(const std::vector<double>& got, const std::vector<double>& want) {
  double error = 0, size = 0;
  for (size_t i = 0; i < want.size(); ++i) {
    error += (got[i] - want[i]) * (got[i] - want[i]);
    size += want[i] * want[i];
  }
  return std::sqrt(error / size);
}

class DeviceLoss : public ::testing::TestWithParam<TinyModel> {
 protected:
  const std::unique_ptr<OpenedDevice> gpu_ = OpenGpu(), cpu_ = *OpenedDevice::Open("cpu");
};
INSTANTIATE_TEST_SUITE_P(AllFlags, DeviceLoss, ::testing::ValuesIn(Models()));

// In slices and with recomputation; small models without them too (the other
// test has none).
TEST_P(DeviceLoss, IsTheCpusInF32) {
  for (const ForwardOptions& options : {ForwardOptions{.slice_tokens = 12, .recompute = true}, ForwardOptions{}}) {
    if (GetParam().chunks.size() > 1 && options.slice_tokens == 0) continue;
    const Result got = Compute(*gpu_, GetParam(), DType::kF32, options);
    const Result want = Compute(*cpu_, GetParam(), DType::kF32, options);
    EXPECT_NEAR(got.loss, want.loss, 1e-5 * want.loss);
    EXPECT_LE(Distance(got.gradient, want.gradient), 1e-5);
  }
}

// Both devices round at the same places to bf16, and differ in how single
// roundings fall. Against f32 their errors are then draws from one distribution
// over thousands of elements: norms of one size, and a factor of 2 far from it.
// A rounding that one device has and the other has not, of the matrices say, or
// a wrong gradient, is more. The loss is a mean of some tens of logarithms,
// each moved by a few roundings of logits below 4 in size: 4 u times those few.
TEST_P(DeviceLoss, HasTheCpusErrorsInBf16) {
  constexpr double kRoundings = 6;  // tests/model/forward_test.cc
  const Result exact = Compute(*cpu_, GetParam(), DType::kF32, {});
  const Result got = Compute(*gpu_, GetParam(), DType::kBF16, {}), want = Compute(*cpu_, GetParam(), DType::kBF16, {});
  const double of_gpu = Distance(got.gradient, exact.gradient), of_cpu = Distance(want.gradient, exact.gradient);
  EXPECT_LE(of_gpu, 2 * of_cpu);
  EXPECT_LE(of_cpu, 2 * of_gpu);
  EXPECT_NEAR(got.loss, want.loss, kRoundings * 4 * UnitRoundoff(DType::kBF16));
}

}  // namespace
}  // namespace photon::testing
