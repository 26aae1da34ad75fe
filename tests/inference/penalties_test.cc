// Penalties and biases against values worked out by hand.
#include "inference/penalties.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

namespace photon {
namespace {

using ::testing::DoubleEq;
using ::testing::ElementsAre;

constexpr double kNever = -INFINITY;

std::vector<double> Penalized(std::vector<double> logits, const SamplingOptions& options,
                              const std::vector<int32_t>& prompt, const std::vector<int32_t>& generated,
                              const std::vector<int32_t>& chunk = {}) {
  TokenHistory history;
  history.AddPrompt(prompt);
  for (const int32_t token : generated) history.AddGenerated(token);
  ApplyPenalties<double>(options, history, chunk, absl::MakeSpan(logits));
  return logits;
}

TEST(Penalties, RepetitionDividesWhatIsPositiveAndMultipliesTheRest) {
  EXPECT_THAT(Penalized({3, -2, 3, -2, 0}, {.repetition_penalty = 2}, /*prompt=*/{0, 0, 1}, /*generated=*/{4}),
              ElementsAre(1.5, -4, 3, -2, 0));  // once, however often the token came
  EXPECT_THAT(Penalized({3, -2, 3}, {.repetition_penalty = 2}, {}, {0, 0, 0}), ElementsAre(1.5, -2, 3));
}

TEST(Penalties, PresenceAndFrequencyCountWhatWasGenerated) {
  const std::vector<int32_t> prompt = {0, 0}, generated = {1, 2, 2, 2};
  EXPECT_THAT(Penalized({1, 1, 1, 1}, {.presence_penalty = 0.5}, prompt, generated), ElementsAre(1, 0.5, 0.5, 1));
  EXPECT_THAT(Penalized({1, 1, 1, 1}, {.frequency_penalty = 0.5}, prompt, generated), ElementsAre(1, 0.5, -0.5, 1));
  EXPECT_THAT(Penalized({1, 1, 1, 1}, {.presence_penalty = -1, .frequency_penalty = -2}, prompt, generated),
              ElementsAre(1, 4, 8, 1));  // negative ones reward
}

TEST(Penalties, RepetitionComesFirst) {
  // 4 / 2 - 2 * 0.25 - 1
  EXPECT_THAT(Penalized({4}, {.repetition_penalty = 2, .presence_penalty = 1, .frequency_penalty = 0.25}, {}, {0, 0}),
              ElementsAre(DoubleEq(0.5)));
}

// The chunk's own tokens count like those of the history.
TEST(Penalties, TheChunkCountsToo) {
  const SamplingOptions options{.repetition_penalty = 2, .presence_penalty = 0.5, .frequency_penalty = 0.25};
  const std::vector<double> logits = {4, 3, -1, 2, 1};
  EXPECT_EQ(Penalized(logits, options, {4}, {0, 1}, {1, 3, 3}), Penalized(logits, options, {4}, {0, 1, 1, 3, 3}));
  EXPECT_EQ(Penalized(logits, options, {4}, {}, {4}), Penalized(logits, options, {4}, {4}));
  EXPECT_NE(Penalized(logits, options, {4}, {0, 1}, {1, 3, 3}), Penalized(logits, options, {4}, {0, 1}));
}

TEST(Penalties, OffIsUntouched) { EXPECT_THAT(Penalized({1, 2}, {}, {0}, {1}, {1}), ElementsAre(1, 2)); }

TEST(Penalties, BannedTokensStayBanned) {
  const SamplingOptions options{.repetition_penalty = 0.5, .presence_penalty = -100};
  EXPECT_THAT(Penalized({kNever, 1}, options, {0}, {0}), ElementsAre(kNever, 1));
}

TEST(Biases, AddUpAndBan) {
  std::vector<float> logits = {1, 2, 3};
  SamplingOptions options;
  options.logit_bias = {{0, 0.5}, {0, 0.25}, {2, kNever}, {7, 1}};
  ApplyBiases<float>(options, absl::MakeSpan(logits));
  EXPECT_THAT(logits, ElementsAre(1.75f, 2.0f, -INFINITY));
}

TEST(HoldBack, TakesTokensOut) {
  std::vector<float> logits = {1, 2, 3};
  HoldBack<float>({2, 9}, absl::MakeSpan(logits));
  EXPECT_THAT(logits, ElementsAre(1.0f, 2.0f, -INFINITY));
}

TEST(Allowed, LeavesNoOthers) {
  std::vector<double> row = {9};
  CopyAllowed<double>({}, {1, 2, 3}, &row);
  EXPECT_THAT(row, ElementsAre(1, 2, 3));
  SamplingOptions options;
  options.allowed_tokens = {0, 2, 7};
  CopyAllowed<double>(options, {1, 2, 3}, &row);
  EXPECT_THAT(row, ElementsAre(1, kNever, 3));
}

// Tokens banned of four, `ahead` places after `generated`.
std::vector<int> Banned(const std::vector<std::vector<int32_t>>& words, const std::vector<int32_t>& generated,
                        int64_t ahead = 0, const std::vector<int32_t>& chunk = {}) {
  SamplingOptions options;
  options.bad_words = words;
  std::vector<double> logits(4);
  BanBadWords<double>(options, generated, ahead, chunk, absl::MakeSpan(logits));
  std::vector<int> banned;
  for (int i = 0; i < 4; ++i) {
    if (logits[i] == kNever) banned.push_back(i);
  }
  return banned;
}

TEST(BadWords, TheirLastTokenIsBannedWhereTheOthersStand) {
  EXPECT_THAT(Banned({{1}}, {}), ElementsAre(1));
  EXPECT_THAT(Banned({{0, 1}, {0, 2, 3}}, {}), ElementsAre());
  EXPECT_THAT(Banned({{0, 1}, {0, 2, 3}}, {3, 0}), ElementsAre(1));
  EXPECT_THAT(Banned({{0, 1}, {0, 2, 3}}, {0, 2}), ElementsAre(3));
  EXPECT_THAT(Banned({{0, 2, 3}}, {2}), ElementsAre());
  // The chunk goes before; of places that are chosen at the same time nothing is known.
  EXPECT_THAT(Banned({{0, 2, 3}}, {1, 0}, 1, {2}), ElementsAre(3));
  EXPECT_THAT(Banned({{0, 2, 3}}, {1, 1}, 1, {2}), ElementsAre());
  EXPECT_THAT(Banned({{0, 2, 3}}, {1, 1}, 3, {2}), ElementsAre(3));
  EXPECT_THAT(Banned({{0, 2, 3}}, {1, 1}, 3, {0}), ElementsAre());
  EXPECT_THAT(Banned({{0, 1, 1, 3}}, {2}, 2, {}), ElementsAre());
  EXPECT_THAT(Banned({{0, 1, 1, 3}}, {0}, 2, {}), ElementsAre(3));
}

}  // namespace
}  // namespace photon
