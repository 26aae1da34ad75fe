#include "inference/generate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "configs/model_config.h"
#include "inference/meta_context_decoder.h"
#include "inference/score.h"
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

TEST_F(GenerateTest, NoNumberIsAnErrorThatNamesTheToken) {
  for (const TinyModel& tiny : {TinyModel{.chunks = {}}, TinyModel{.chunks = {2, 2}}}) {
    SCOPED_TRACE(Describe(tiny));
    const auto model = MakeModel(context_, tiny);
    MakeNan(context_, *model);
    for (const GenerationMode mode : kModes) {
      const absl::Status status =
          Generate(context_, *model, {1, 2, 3, 4}, {.mode = mode, .max_new_tokens = 9}).status();
      EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << Name(mode) << ": " << status;
      EXPECT_THAT(std::string(status.message()), HasSubstr("logits for new token 0"));
    }
  }
}

TEST_F(GenerateTest, TheSinkSeesEveryTokenOnce) {
  const auto model = MakeModel(context_, {.chunks = {2, 3}});
  for (GenerationMode mode : kModes) {
    std::vector<int32_t> seen;
    const auto result = Generate(context_, *model, {5}, {.mode = mode, .max_new_tokens = 16}, nullptr,
                                 [&](int64_t continuation, auto tokens, auto text, bool done) {
                                   EXPECT_EQ(continuation, 0);
                                   EXPECT_TRUE(text.empty());
                                   seen.insert(seen.end(), tokens.begin(), tokens.end());
                                   EXPECT_EQ(done, seen.size() == 16);
                                 });
    ASSERT_TRUE(result.ok());
    EXPECT_EQ(seen, result->continuations[0].tokens);
  }
}

// Also of those that hold no token: the first is the stop token, or none was asked for.
TEST_F(GenerateTest, TheSinkIsToldOfEachEnd) {
  const auto model = MakeModel(context_, {.chunks = {2, 3}});
  for (GenerationMode mode : kModes) {
    GenerateOptions options{
        .mode = mode, .max_new_tokens = 20, .sampling = {.temperature = 1.5, .seed = 4}, .continuations = 5};
    const auto free = Generate(context_, *model, {5}, options);
    ASSERT_TRUE(free.ok());
    options.stop.tokens = {free->continuations[1].tokens[0]};
    std::vector<int> ends(5);
    const auto result = Generate(context_, *model, {5}, options, nullptr,
                                 [&](int64_t continuation, auto, auto, bool done) { ends[continuation] += done; });
    ASSERT_TRUE(result.ok());
    EXPECT_TRUE(result->continuations[1].tokens.empty());
    EXPECT_EQ(ends, std::vector<int>(5, 1)) << Name(mode);
    options.max_new_tokens = 0;
    ASSERT_TRUE(Generate(context_, *model, {5}, options, nullptr, [&](int64_t continuation, auto, auto, bool done) {
                  ends[continuation] += done;
                }).ok());
    EXPECT_EQ(ends, std::vector<int>(5, 2)) << Name(mode);
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

// Continuation c is the same whatever n is: exactly, in every mode, as its logits are computed with the same kernels.
TEST_F(GenerateTest, ContinuationsAreIndependentOfTheirNumber) {
  for (const TinyModel& tiny : {TinyModel{.chunks = {2, 3}, .width = 32}, TinyModel{.chunks = {4, 4}, .width = 32},
                                TinyModel{.chunks = {}, .width = 32}}) {
    SCOPED_TRACE(Describe(tiny));
    for (const DType compute : {DType::kF32, DType::kBF16}) {
      const auto model = MakeModel(context_, tiny, DType::kF32, compute);
      for (const GenerationMode mode : kModes) {
        GenerateOptions options{.mode = mode,
                                .max_new_tokens = 25,
                                .sampling = {.temperature = 1, .repetition_penalty = 1.2, .seed = 6},
                                .stop = {.tokens = {3}},
                                .log_probabilities = 0};
        options.continuations = 20;
        const auto many = Generate(context_, *model, {5, 1, 2}, options);
        ASSERT_TRUE(many.ok()) << many.status();
        ASSERT_EQ(many->continuations.size(), 20u);
        EXPECT_NE(many->continuations[0].tokens, many->continuations[1].tokens);
        for (const int64_t n : {1, 2, 7}) {
          options.continuations = n;
          const auto few = Generate(context_, *model, {5, 1, 2}, options);
          ASSERT_TRUE(few.ok());
          for (int64_t c = 0; c < n; ++c) {
            EXPECT_EQ(few->continuations[c].tokens, many->continuations[c].tokens) << Name(mode) << ", n " << n;
            for (size_t t = 0; t < few->continuations[c].choices.size(); ++t) {
              EXPECT_EQ(few->continuations[c].choices[t].log_probability,
                        many->continuations[c].choices[t].log_probability);
            }
          }
        }
      }
    }
  }
}

// log-probabilities of hier are those that scoring gives, whatever sampling did to the logits.
TEST_F(GenerateTest, LogProbabilitiesAreTheScores) {
  for (const TinyModel& tiny : {TinyModel{.chunks = {}}, TinyModel{.chunks = {2, 3}}}) {
    const auto model = MakeModel(context_, tiny, DType::kF64, DType::kF64);
    std::vector<int32_t> tokens = {1, 2, 3};
    const auto result = Generate(context_, *model, tokens,
                                 {.max_new_tokens = 20,
                                  .sampling = {.temperature = 1.5, .top_k = 9, .presence_penalty = 1, .seed = 2},
                                  .log_probabilities = 3});
    ASSERT_TRUE(result.ok());
    const Continuation& continuation = result->continuations[0];
    tokens.insert(tokens.end(), continuation.tokens.begin(), continuation.tokens.end());
    const auto scores = ScoreTokens(context_, *model, tokens);
    std::vector<double> got;
    for (const Choice& choice : continuation.choices) {
      got.push_back(choice.log_probability);
      EXPECT_EQ(choice.most_likely.size(), 3u);
    }
    ExpectNear(got, {scores->begin() + 2, scores->end()}, 1e-10, Describe(tiny));
  }
}

// Chunks side by side: penalties count the tokens before the meta-context and those of the own chunk, and no others.
TEST_F(GenerateTest, PenaltiesOfChunksSideBySide) {
  const auto model = MakeModel(context_, {.chunks = {3, 2}}, DType::kF64, DType::kF64);
  const std::vector<int32_t> prompt = RandomTokens(6, 19, 3);
  GenerateOptions options{.max_new_tokens = 24};
  options.sampling = {.repetition_penalty = 1.3, .presence_penalty = 1, .frequency_penalty = 0.5};
  const PhotonDecoder decoder(context_, static_cast<const PhotonModel&>(*model));
  for (const auto feedback : {MetaContextDecoder::Feedback::kTokens, MetaContextDecoder::Feedback::kReconstruction}) {
    DecodingState state = decoder.NewState(0);
    decoder.Prefill(state, prompt);
    MetaContextDecoder meta(context_, decoder, feedback);
    meta.TakeOver({&state});
    std::vector<int32_t> generated;
    for (int burst = 0; burst < 4; ++burst) {
      std::vector<int32_t> own(6);
      const auto choose = [&](const Tensor& logits, absl::Span<const MetaContextDecoder::Place> places) {
        const std::vector<double> values = ToDoubles(context_, logits);
        std::vector<int32_t> tokens;
        for (size_t r = 0; r < places.size(); ++r) {
          std::vector<int32_t> counted = generated;
          for (int64_t i = places[r].offset / 3 * 3; i < places[r].offset; ++i) counted.push_back(own[i]);
          std::vector<double> row(values.begin() + r * 19, values.begin() + (r + 1) * 19);
          for (int32_t v = 0; v < 19; ++v) {
            const auto times = std::count(counted.begin(), counted.end(), v);
            if (times > 0 || std::count(prompt.begin(), prompt.end(), v) > 0) row[v] *= row[v] > 0 ? 1 / 1.3 : 1.3;
            row[v] -= 0.5 * static_cast<double>(times) + (times > 0 ? 1 : 0);
          }
          tokens.push_back(static_cast<int32_t>(std::max_element(row.begin(), row.end()) - row.begin()));
          own[places[r].offset] = tokens.back();
        }
        return tokens;
      };
      const std::vector<int32_t> burst_tokens = meta.Decode({&state}, choose);
      generated.insert(generated.end(), burst_tokens.begin(), burst_tokens.end());
    }
    options.mode =
        feedback == MetaContextDecoder::Feedback::kTokens ? GenerationMode::kHierParallel : GenerationMode::kRec;
    EXPECT_EQ(Tokens(*model, prompt, options), generated) << Name(options.mode);
  }
}

TEST_F(GenerateTest, StopTokensComeNoEarlierThanAsked) {
  const auto model = MakeModel(context_, {.chunks = {2, 3}});
  for (const GenerationMode mode : kModes) {
    GenerateOptions options{.mode = mode, .max_new_tokens = 40, .sampling = {.temperature = 1, .seed = 2}};
    for (int32_t token = 0; token < 12; ++token) options.stop.tokens.push_back(token);
    EXPECT_LT(Tokens(*model, {1}, options).size(), 15u);
    options.stop.min_new_tokens = 15;
    const std::vector<int32_t> got = Tokens(*model, {1}, options);
    EXPECT_GE(got.size(), 15u);
    for (const int32_t token : got) EXPECT_GE(token, 12);
  }
}

TEST_F(GenerateTest, RefusesOptions) {
  const auto model = MakeModel(context_, {.chunks = {2}});
  GenerateOptions options{.max_new_tokens = 3};
  options.stop.strings = {"x"};
  EXPECT_THAT(Refusal(*model, {1}, options), HasSubstr("stop strings need a tokenizer"));
  options.stop = {.tokens = {19}};
  EXPECT_THAT(Refusal(*model, {1}, options), HasSubstr("stop-token"));
  options.stop = {.min_new_tokens = 4};
  EXPECT_THAT(Refusal(*model, {1}, options), HasSubstr("min-new-tokens is 4, more than --max-new-tokens"));
  options.stop.min_new_tokens = int64_t{1} << 31;
  EXPECT_THAT(Refusal(*model, {1}, options), HasSubstr("min-new-tokens is 2147483648: give 2147483647 or less"));
  options.stop = {};
  options.continuations = 0;
  EXPECT_THAT(Refusal(*model, {1}, options), HasSubstr("n is 0"));
  options.continuations = 1;
  options.sampling.logit_bias = {{19, 1}};
  EXPECT_THAT(Refusal(*model, {1}, options), HasSubstr("logit-bias"));
  options.sampling.logit_bias.clear();
  for (int32_t token = 0; token < 19; ++token) options.sampling.logit_bias.push_back({token, -INFINITY});
  EXPECT_THAT(Refusal(*model, {1}, options), HasSubstr("leave one"));
}

// In every mode, also where chunks are chosen side by side.
TEST_F(GenerateTest, AllowedTokensAndBadWords) {
  const auto model = MakeModel(context_, {});
  for (const GenerationMode mode : kModes) {
    SCOPED_TRACE(Name(mode));
    GenerateOptions options{.mode = mode, .max_new_tokens = 300};
    options.sampling.temperature = 1;
    options.sampling.allowed_tokens = {2, 3, 5};
    const auto without = Generate(context_, *model, {1, 2}, options);
    options.sampling.bad_words = {{2, 3}, {5, 5, 2}};
    const auto with = Generate(context_, *model, {1, 2}, options);
    ASSERT_TRUE(without.ok() && with.ok());
    const auto holds = [](const std::vector<int32_t>& tokens, const std::vector<int32_t>& word) {
      return std::search(tokens.begin(), tokens.end(), word.begin(), word.end()) != tokens.end();
    };
    const std::vector<int32_t>&free = without->continuations[0].tokens, &banned = with->continuations[0].tokens;
    EXPECT_EQ(std::set<int32_t>(free.begin(), free.end()), (std::set<int32_t>{2, 3, 5}));
    EXPECT_EQ(banned.size(), 300u);
    for (const std::vector<int32_t>& word : options.sampling.bad_words) {
      EXPECT_TRUE(holds(free, word));
      EXPECT_FALSE(holds(banned, word));
    }
    options.sampling.allowed_tokens = {2, 3};
    options.sampling.bad_words = {{2}, {2, 3}};
    EXPECT_THAT(Refusal(*model, {1}, options), HasSubstr("leave one"));
    options.sampling.allowed_tokens = {19};
    EXPECT_THAT(Refusal(*model, {1}, options), HasSubstr("--allowed-token: the model has no token id 19"));
  }
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
