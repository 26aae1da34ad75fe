#include "inference/generate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "configs/model_config.h"
#include "tests/support/models.h"
#include "tests/support/tensors.h"

namespace photon::testing {
namespace {

using ::testing::HasSubstr;

constexpr GenerationMode kModes[] = {GenerationMode::kHier, GenerationMode::kHierParallel, GenerationMode::kRec};

class GenerateTest : public ::testing::Test {
 protected:
  std::vector<int32_t> Tokens(const LanguageModel& model, const std::vector<int32_t>& prompt,
                              const GenerateOptions& options) {
    const auto result = Generate(context_, model, prompt, options);
    EXPECT_TRUE(result.ok()) << result.status();
    return result.ok() ? result->continuations[0].tokens : std::vector<int32_t>();
  }
  std::string Refusal(const LanguageModel& model, const std::vector<int32_t>& prompt, const GenerateOptions& options) {
    const auto result = Generate(context_, model, prompt, options);
    EXPECT_EQ(result.status().code(), absl::StatusCode::kInvalidArgument);
    return std::string(result.status().message());
  }
  TestContext context_;
};

TEST_F(GenerateTest, GreedyHierIsTheForwardsBestToken) {
  for (const TinyModel& tiny : {TinyModel{.chunks = {}}, TinyModel{.chunks = {4}}, TinyModel{.chunks = {2, 3}}}) {
    SCOPED_TRACE(Describe(tiny));
    const auto model = MakeModel(context_, tiny);
    std::vector<int32_t> all = RandomTokens(5, tiny.vocab, 1);
    const std::vector<int32_t> got = Tokens(*model, all, {.max_new_tokens = 15});
    for (int32_t token : got) {
      std::vector<int32_t> padded = all;
      padded.push_back(0);
      const auto rows = Logits(context_, *model, TokenBatch::FromIds(padded, ChunkProduct(model->config()), true));
      const std::vector<double>& row = rows[all.size() - model->target_offset()];
      EXPECT_EQ(token, std::max_element(row.begin(), row.end()) - row.begin());
      all.push_back(token);
    }
  }
}

TEST_F(GenerateTest, GivesExactlyAsManyTokensAsAsked) {
  const auto model = MakeModel(context_, {.chunks = {2, 3}});
  for (GenerationMode mode : kModes) {
    const std::vector<int32_t> longest = Tokens(*model, {1, 2, 3, 4}, {.mode = mode, .max_new_tokens = 20});
    EXPECT_EQ(longest.size(), 20u);
    for (int64_t n = 0; n < 20; ++n) {
      const std::vector<int32_t> got = Tokens(*model, {1, 2, 3, 4}, {.mode = mode, .max_new_tokens = n});
      // A token does not depend on how many are asked for.
      EXPECT_EQ(got, std::vector<int32_t>(longest.begin(), longest.begin() + n)) << Name(mode);
    }
  }
}

TEST_F(GenerateTest, TheSinkSeesEveryTokenOnce) {
  const auto model = MakeModel(context_, {.chunks = {2, 3}});
  for (GenerationMode mode : kModes) {
    std::vector<int32_t> seen;
    const auto result = Generate(context_, *model, {5}, {.mode = mode, .max_new_tokens = 16}, nullptr,
                                 [&](int64_t continuation, auto tokens, auto text) {
                                   EXPECT_EQ(continuation, 0);
                                   EXPECT_TRUE(text.empty());
                                   seen.insert(seen.end(), tokens.begin(), tokens.end());
                                 });
    ASSERT_TRUE(result.ok());
    EXPECT_EQ(seen, result->continuations[0].tokens);
  }
}

TEST_F(GenerateTest, StopsBeforeTheStopToken) {
  const auto model = MakeModel(context_, {.chunks = {4, 2}});
  for (GenerationMode mode : kModes) {
    GenerateOptions options{.mode = mode, .max_new_tokens = 60, .sampling = {.temperature = 1.5, .seed = 4}};
    const std::vector<int32_t> free = Tokens(*model, {3, 1}, options);
    options.stop.tokens = {free[37]};
    const auto result = Generate(context_, *model, {3, 1}, options);
    ASSERT_TRUE(result.ok());
    const auto first = std::find(free.begin(), free.end(), options.stop.tokens[0]);
    EXPECT_EQ(result->continuations[0].tokens, std::vector<int32_t>(free.begin(), first)) << Name(mode);
    EXPECT_EQ(result->continuations[0].finish, Finish::kStopToken);
    EXPECT_EQ(result->continuations[0].stop_token, options.stop.tokens[0]);
  }
}

TEST_F(GenerateTest, SamplingIsAFunctionOfTheSeed) {
  const auto model = MakeModel(context_, {.chunks = {2, 2}});
  for (GenerationMode mode : kModes) {
    GenerateOptions options{.mode = mode, .max_new_tokens = 40, .sampling = {.temperature = 2, .seed = 1}};
    const std::vector<int32_t> a = Tokens(*model, {1}, options);
    EXPECT_EQ(a, Tokens(*model, {1}, options));
    options.sampling.seed = 2;
    EXPECT_NE(a, Tokens(*model, {1}, options));
  }
}

// With one level or none there is nothing that modes could do differently.
TEST_F(GenerateTest, AllModesAreHierAtOneLevelOrNone) {
  for (const TinyModel& tiny :
       {TinyModel{.chunks = {}}, TinyModel{.chunks = {4}}, TinyModel{.chunks = {4}, .shift = ModelConfig::ALL}}) {
    const auto model = MakeModel(context_, tiny);
    const std::vector<int32_t> hier = Tokens(*model, {1, 2, 3}, {.max_new_tokens = 13});
    for (GenerationMode mode : kModes) {
      EXPECT_EQ(Tokens(*model, {1, 2, 3}, {.mode = mode, .max_new_tokens = 13}), hier);
    }
  }
}

TEST_F(GenerateTest, EmptyPrompts) {
  const auto photon = MakeModel(context_, {.chunks = {2, 2}});
  for (GenerationMode mode : kModes) EXPECT_EQ(Tokens(*photon, {}, {.mode = mode, .max_new_tokens = 9}).size(), 9u);
  const auto flat = MakeModel(context_, {.chunks = {}});
  EXPECT_THAT(Refusal(*flat, {}, {.max_new_tokens = 9}), HasSubstr("at least one token"));
}

TEST_F(GenerateTest, RefusesWhatItCannotDo) {
  const auto all = MakeModel(context_, {.chunks = {2, 2}, .shift = ModelConfig::ALL});
  EXPECT_THAT(Refusal(*all, {1}, {.mode = GenerationMode::kRec, .max_new_tokens = 1}), HasSubstr("mode rec"));
  EXPECT_THAT(Refusal(*all, {1}, {.mode = GenerationMode::kHierParallel, .max_new_tokens = 1}),
              HasSubstr("shift: TOP"));
  EXPECT_EQ(Tokens(*all, {1}, {.max_new_tokens = 9}).size(), 9u);
  EXPECT_THAT(Refusal(*all, {3, 19}, {.max_new_tokens = 1}), HasSubstr("token 1 is 19"));
  EXPECT_THAT(Refusal(*all, {-1}, {.max_new_tokens = 1}), HasSubstr("ids 0 to 18"));
  EXPECT_THAT(Refusal(*all, {1}, {.max_new_tokens = -1}), HasSubstr("max-new-tokens"));
  EXPECT_THAT(Refusal(*all, {1}, {.max_new_tokens = 1, .sampling = {.top_p = 2}}), HasSubstr("top-p"));
}

TEST(GenerationModeNames, RoundTrip) {
  for (GenerationMode mode : kModes) EXPECT_EQ(*ParseGenerationMode(Name(mode)), mode);
  EXPECT_THAT(std::string(ParseGenerationMode("fast").status().message()), HasSubstr("hier, hier-parallel or rec"));
}

// bf16 products: the same path end to end, tokens in range.
TEST_F(GenerateTest, RunsInBf16) {
  const auto model = MakeModel(context_, {.chunks = {2, 2}, .width = 32}, DType::kF32, DType::kBF16);
  for (GenerationMode mode : kModes) {
    const auto result = Generate(context_, *model, {1, 2}, {.mode = mode, .max_new_tokens = 12});
    ASSERT_TRUE(result.ok());
    for (int32_t token : result->continuations[0].tokens) EXPECT_TRUE(token >= 0 && token < 19);
    EXPECT_EQ(result->bytes.context % 2, 0);
  }
}

}  // namespace
}  // namespace photon::testing
