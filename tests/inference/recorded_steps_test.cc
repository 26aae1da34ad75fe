// Steps that the device records and replays: the same bits as without. (On devices that record nothing, trivially so.)
#include <gtest/gtest.h>

#include "inference/generate.h"
#include "tests/support/models.h"
#include "tests/support/tensors.h"

namespace photon::testing {
namespace {

// Those that differ at so many levels.
std::vector<GenerationMode> ModesOf(const TinyModel& tiny) {
  if (tiny.chunks.size() < 2) return {GenerationMode::kHier};
  return {GenerationMode::kHier, GenerationMode::kHierParallel, GenerationMode::kRec};
}

std::vector<TinyModel> RecordedModels() {
  TinyModel fed_back = {.chunks = {2, 2}, .prefixes = {1, 2}, .kv_heads = 2};
  fed_back.contents = ModelConfig::RECONSTRUCTED;
  TinyModel grouped = {.chunks = {2, 2}};
  grouped.scope = ModelConfig::GROUP;
  return {TinyModel{.chunks = {}, .kv_heads = 2}, TinyModel{.chunks = {3}}, TinyModel{.chunks = {2, 1, 2}}, fed_back,
          grouped};
}

class RecordedSteps : public ::testing::TestWithParam<TinyModel> {
 protected:
  Continuation Only(const Decoder& decoder, const GenerateOptions& options) {
    const auto result = Generate(decoder, {1, 2, 3, 4, 5}, options);
    EXPECT_TRUE(result.ok()) << result.status();
    return result.ok() ? result->continuations[0] : Continuation();
  }
  TestContext context_;
};
INSTANTIATE_TEST_SUITE_P(AllModels, RecordedSteps, ::testing::ValuesIn(RecordedModels()),
                         [](const auto& info) { return "n" + std::to_string(info.index); });

// Several meta-contexts: at the third occurrence a step is replayed. Bounds double, on the way from 5 to 20 tokens.
TEST_P(RecordedSteps, GiveTheSameBits) {
  SCOPED_TRACE(Describe(GetParam()));
  const auto model = MakeModel(context_, GetParam());
  const auto plain = Decoder::Create(context_, *model);
  const auto recording = Decoder::Create(context_, *model, context_.device());
  for (const GenerationMode mode : ModesOf(GetParam())) {
    GenerateOptions options = {.mode = mode, .max_new_tokens = 15, .sampling = {.temperature = 1, .seed = 3}};
    options.log_probabilities = 0;
    const Continuation want = Only(*plain, options), got = Only(*recording, options);
    EXPECT_EQ(got.tokens, want.tokens) << Name(mode);
    ASSERT_EQ(got.choices.size(), want.choices.size());
    for (size_t i = 0; i < want.choices.size(); ++i) {
      EXPECT_EQ(got.choices[i].log_probability, want.choices[i].log_probability) << Name(mode) << ", token " << i;
    }
  }
  EXPECT_EQ(plain->steps().recorded(), 0);
  const bool records = context_.device() != nullptr && context_.device()->records();
  EXPECT_EQ(recording->steps().recorded() > 0, records);
}

// In f32 the devices' roundings differ by far less than these models' logits do.
TEST_P(RecordedSteps, GreedyTokensAreTheCpus) {
  SCOPED_TRACE(Describe(GetParam()));
  const auto cpu = *OpenedDevice::Open("cpu");
  const Context there = cpu->MakeContext(nullptr);
  const auto model = MakeModel(context_, GetParam()), own = MakeModel(there, GetParam());
  const auto recording = Decoder::Create(context_, *model, context_.device()), reference = Decoder::Create(there, *own);
  for (const GenerationMode mode : ModesOf(GetParam())) {
    const GenerateOptions options = {.mode = mode, .max_new_tokens = 8};
    EXPECT_EQ(Only(*recording, options).tokens, Only(*reference, options).tokens) << Name(mode);
  }
}

}  // namespace
}  // namespace photon::testing
