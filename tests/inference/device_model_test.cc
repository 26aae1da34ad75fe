// A checkpoint on a GPU generates and scores what it does on the CPU.
#include <gtest/gtest.h>

#include "core/placement.h"
#include "inference/generate.h"
#include "inference/loaded_model.h"
#include "inference/score.h"
#include "tests/launch/model_checkpoint.h"
#include "tests/support/gpu.h"
#include "tests/support/models.h"
#include "tests/support/temporary_folder.h"

namespace photon::testing {
namespace {

class DeviceModel : public ::testing::TestWithParam<TinyModel> {
 protected:
  void SetUp() override {
    TinyModel tiny = GetParam();
    tiny.loudness = TinyModel::kOrdinary;
    const Context context = cpu_->MakeContext(nullptr);
    WriteModelCheckpoint(folder_ / "checkpoint", *MakeModel(context, tiny), "");
  }
  std::unique_ptr<LoadedModel> Load(OpenedDevice& device, DType compute = DType::kF32) {
    auto loaded = LoadedModel::Load(folder_ / "checkpoint", compute, device);
    PHOTON_CHECK(loaded.ok()) << loaded.status().ToString();
    return *std::move(loaded);
  }
  std::vector<GenerationMode> Modes() const {
    if (GetParam().chunks.size() < 2 || GetParam().shift == ModelConfig::ALL) return {GenerationMode::kHier};
    return {GenerationMode::kHier, GenerationMode::kHierParallel, GenerationMode::kRec};
  }

  const TemporaryFolder folder_;
  const std::unique_ptr<OpenedDevice> gpu_ = OpenGpu(), cpu_ = *OpenedDevice::Open("cpu");
};
INSTANTIATE_TEST_SUITE_P(
    Models, DeviceModel,
    ::testing::Values(TinyModel{.chunks = {}, .kv_heads = 2}, TinyModel{.chunks = {3}}, TinyModel{.chunks = {2, 2}},
                      TinyModel{.chunks = {2, 2}, .shift = ModelConfig::ALL, .contents = ModelConfig::RECONSTRUCTED}));

// In f32 the devices' roundings differ by far less than logits do.
TEST_P(DeviceModel, GreedyTextsAreTheCpus) {
  const auto there = Load(*gpu_), here = Load(*cpu_);
  const std::vector<int32_t> prompt = RandomTokens(7, GetParam().vocab, 4);
  for (const GenerationMode mode : Modes()) {
    const GenerateOptions options = {.mode = mode, .max_new_tokens = 12};
    const auto got = Generate(there->decoder(), prompt, options), want = Generate(here->decoder(), prompt, options);
    ASSERT_TRUE(got.ok() && want.ok()) << got.status() << want.status();
    EXPECT_EQ(got->continuations[0].tokens, want->continuations[0].tokens) << Name(mode);
    EXPECT_EQ(got->continuations[0].tokens.size(), 12u);
  }
}

// 1e-4 is the bound that users are promised in f32 (docs/numerics.md).
TEST_P(DeviceModel, ScoresAreTheCpus) {
  const auto there = Load(*gpu_), here = Load(*cpu_);
  const std::vector<std::vector<int32_t>> sequences = {
      RandomTokens(41, GetParam().vocab, 5), RandomTokens(6, GetParam().vocab, 6), {1, 2}};
  for (const GenerationMode mode : {GenerationMode::kHier, GenerationMode::kRec}) {
    if (mode == GenerationMode::kRec && Modes().size() == 1) continue;
    const ScoreOptions options = {.mode = mode, .segment_tokens = 16};  // several segments
    const auto got = ScoreBatch(there->context(), there->model(), sequences, options),
               want = ScoreBatch(here->context(), here->model(), sequences, options);
    ASSERT_TRUE(got.ok() && want.ok()) << got.status() << want.status();
    for (size_t s = 0; s < sequences.size(); ++s)
      ExpectNear((*got)[s].log_probabilities, (*want)[s].log_probabilities, 1e-4, "log-probabilities");
  }
}

}  // namespace
}  // namespace photon::testing
