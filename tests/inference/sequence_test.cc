// One continuation apart from the model: what is kept, shown and counted.
#include "inference/sequence.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/random.h"
#include "data/train_tokenizer.h"
#include "tests/support/temporary_folder.h"

namespace photon::testing {
namespace {

using ::testing::ElementsAre;

class SequenceTest : public ::testing::Test {
 protected:
  // 300 pieces: begin, end, unknown, the 256 bytes, and what 41 more pieces make of these words.
  static void SetUpTestSuite() {
    TemporaryFolder folder;
    std::string text;
    for (int i = 0; i < 20; ++i) text += "the end of the beginning of the end\n";
    CorpusOptions corpus;
    corpus.files = {folder.Write("t.txt", text)};
    const auto model = TrainTokenizer(corpus, 280);
    ASSERT_TRUE(model.ok()) << model.status();
    tokenizer_ = *Tokenizer::FromBytes(*model, "test");
  }
  static void TearDownTestSuite() { tokenizer_.reset(); }

  // The text shown, piece by piece joined, of a continuation by these tokens, `burst` at a time.
  std::string Shown(const GenerateOptions& options, const std::vector<int32_t>& tokens, size_t burst,
                    Continuation* result) {
    Sequence sequence(options, tokenizer_, /*prompt=*/tokenizer_->Encode("the"));
    std::string shown, text;
    for (size_t i = 0; i < tokens.size() && !sequence.done(); i += burst) {
      std::vector<Choice> choices;
      for (size_t k = i; k < std::min(i + burst, tokens.size()); ++k) choices.push_back({.token = tokens[k]});
      sequence.Take(choices, &text);
      shown += text;
    }
    EXPECT_EQ(shown, sequence.result().text);
    *result = sequence.result();
    return shown;
  }

  static std::shared_ptr<const Tokenizer> tokenizer_;
};
std::shared_ptr<const Tokenizer> SequenceTest::tokenizer_;

// Every part of the text as a stop string: whatever tokens it begins and ends in, characters of several bytes (here
// several tokens each) included.
TEST_F(SequenceTest, StopStringsAcrossTokens) {
  const std::string text = " the é end 日本 beginning";
  const std::vector<int32_t> tokens = tokenizer_->Encode(text.substr(1));
  ASSERT_GT(tokens.size(), 12u);
  const auto boundary = [&](size_t i) { return i == text.size() || (text[i] & 0xC0) != 0x80; };
  for (const size_t burst : {1, 3, 100}) {
    Continuation all;
    ASSERT_EQ(Shown({.max_new_tokens = static_cast<int64_t>(tokens.size())}, tokens, burst, &all), text);
    for (size_t begin = 0; begin < text.size(); ++begin) {
      for (size_t end = begin + 1; end <= text.size(); ++end) {
        if (!boundary(begin) || !boundary(end)) continue;
        const std::string stop = text.substr(begin, end - begin);
        Continuation result;
        const GenerateOptions options = {.max_new_tokens = 100, .stop = {.strings = {"never", stop}}};
        EXPECT_EQ(Shown(options, tokens, burst, &result), text.substr(0, text.find(stop))) << "stop " << stop;
        EXPECT_EQ(result.finish, Finish::kStopString);
        EXPECT_EQ(result.stop_string, 1);
        // The token that completes the stop string is the last.
        std::vector<int32_t> ids = tokenizer_->Encode("the");
        ids.insert(ids.end(), result.tokens.begin(), result.tokens.end());
        EXPECT_NE(tokenizer_->Decode(ids).find(stop, 3), std::string::npos) << "stop " << stop;
        ids.pop_back();
        EXPECT_EQ(tokenizer_->Decode(ids).find(stop, 3), std::string::npos) << "stop " << stop;
      }
    }
  }
}

TEST_F(SequenceTest, WhatIsHeldBackComesAtTheEnd) {
  const std::vector<int32_t> tokens = tokenizer_->Encode("the end");
  Continuation result;
  const int64_t count = static_cast<int64_t>(tokens.size());
  EXPECT_EQ(Shown({.max_new_tokens = count, .stop = {.strings = {"end of"}}}, tokens, 1, &result), " the end");
  EXPECT_EQ(result.finish, Finish::kLength);
  std::vector<int32_t> ended = tokens;
  ended.push_back(tokenizer_->eos());
  ended.push_back(tokens[0]);
  EXPECT_EQ(
      Shown({.max_new_tokens = 100, .stop = {.tokens = {tokenizer_->eos()}, .strings = {"end of"}}}, ended, 2, &result),
      " the end");
  EXPECT_EQ(result.finish, Finish::kStopToken);
  EXPECT_EQ(result.stop_token, tokenizer_->eos());
  EXPECT_EQ(result.tokens, tokens);
}

TEST_F(SequenceTest, TextOfTheFirstTokensStopsNothing) {
  const std::vector<int32_t> tokens = tokenizer_->Encode("the end of the end of it");
  const std::string text = " " + tokenizer_->Decode(tokens);
  Continuation result;
  GenerateOptions options = {.max_new_tokens = 100, .stop = {.strings = {"end"}}};
  EXPECT_EQ(Shown(options, tokens, 1, &result), text.substr(0, text.find("end")));
  options.stop.min_new_tokens = static_cast<int64_t>(result.tokens.size());
  EXPECT_EQ(Shown(options, tokens, 1, &result), text.substr(0, text.rfind("end")));
}

// A burst is cut at the limit and at a stop; what follows is not counted by penalties.
TEST_F(SequenceTest, DiscardsWhatFollows) {
  const GenerateOptions options = {.max_new_tokens = 3, .stop = {.tokens = {9}}};
  std::string text;
  for (const auto& [tokens, want] : std::vector<std::pair<std::vector<int32_t>, std::vector<int32_t>>>{
           {{1, 2, 3, 4}, {1, 2, 3}}, {{1, 9, 3}, {1}}, {{9}, {}}, {{1, 2, 3, 9}, {1, 2, 3}}}) {
    Sequence sequence(options, nullptr, {});
    std::vector<Choice> choices;
    for (const int32_t token : tokens) choices.push_back({.token = token});
    EXPECT_EQ(sequence.Take(choices, &text), static_cast<int64_t>(want.size()));
    EXPECT_EQ(sequence.result().tokens, want);
    EXPECT_TRUE(sequence.done());
    EXPECT_EQ(sequence.Take({{.token = 5}}, &text), 0);
  }
}

int32_t Next(const Sequence& sequence, const std::vector<float>& logits, int64_t ahead = 0,
             const std::vector<int32_t>& chunk = {}) {
  ChoiceWorkspace<float> workspace;
  return sequence.Choose<float>(logits, ahead, chunk, workspace).token;
}

TEST_F(SequenceTest, StopTokensWaitForTheMinimum) {
  const GenerateOptions options = {.max_new_tokens = 9, .stop = {.tokens = {0, 2}, .min_new_tokens = 2}};
  Sequence sequence(options, nullptr, {});
  const std::vector<float> logits = {5, 1, 4, 0};
  EXPECT_EQ(Next(sequence, logits, 0), 1);
  EXPECT_EQ(Next(sequence, logits, 1), 1);
  EXPECT_EQ(Next(sequence, logits, 2), 0);
  std::string text;
  sequence.Take({{.token = 1}, {.token = 1}}, &text);
  EXPECT_EQ(Next(sequence, logits), 0);
}

TEST_F(SequenceTest, PenaltiesCountThePromptWhatWasTakenAndTheChunk) {
  const GenerateOptions options = {.max_new_tokens = 9, .sampling = {.repetition_penalty = 2, .frequency_penalty = 1}};
  Sequence sequence(options, nullptr, /*prompt=*/{0});
  EXPECT_EQ(Next(sequence, {4, 3, 2.5, 0}), 1);  // 2, 3, 2.5
  std::string text;
  sequence.Take({{.token = 1}}, &text);
  EXPECT_EQ(Next(sequence, {4, 3, 2.4f, 0}), 2);          // 2, 1.5 - 1, 2.4
  EXPECT_EQ(Next(sequence, {4, 3, 2.4f, 0}, 1, {2}), 0);  // 2, 0.5, 1.2 - 1
}

TEST_F(SequenceTest, LogProbabilitiesAreTheModels) {
  GenerateOptions options = {.max_new_tokens = 9, .sampling = {.temperature = 0.01}, .log_probabilities = 2};
  options.sampling.logit_bias = {{0, 100}};
  const Sequence sequence(options, nullptr, {});
  ChoiceWorkspace<double> workspace;
  const std::vector<double> logits = {std::log(0.1), std::log(0.2), std::log(0.7)};
  const Choice choice = sequence.Choose<double>(logits, 0, {}, workspace);
  EXPECT_EQ(choice.token, 0);
  EXPECT_NEAR(choice.log_probability, std::log(0.1), 1e-12);
  ASSERT_EQ(choice.most_likely.size(), 2u);
  EXPECT_EQ(choice.most_likely[0].token, 2);
  EXPECT_EQ(choice.most_likely[1].token, 1);
  EXPECT_NEAR(choice.most_likely[1].log_probability, std::log(0.2), 1e-12);
}

TEST(TokenScorer, RanksLikeSorting) {
  std::vector<float> logits(1000);
  const Philox philox(1, 1);
  for (size_t i = 0; i < logits.size(); ++i) logits[i] = std::round(static_cast<float>(philox.Normal(i)) * 8);  // ties
  std::vector<int32_t> ids(logits.size());
  std::iota(ids.begin(), ids.end(), 0);
  std::stable_sort(ids.begin(), ids.end(), [&](int32_t a, int32_t b) { return logits[a] > logits[b]; });
  TokenScorer<float> scorer;
  scorer.Read(logits);
  for (const int64_t count : {0, 1, 5, 50, 1000, 2000}) {
    std::vector<int32_t> got;
    for (const RankedToken& token : scorer.MostLikely(count)) got.push_back(token.token);
    EXPECT_EQ(got, std::vector<int32_t>(ids.begin(), ids.begin() + std::min<int64_t>(count, 1000)));
  }
}

}  // namespace
}  // namespace photon::testing
