#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/string_view.h"
#include "inference/eval/encode_request.h"

namespace photon::eval {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using Ids = std::vector<int32_t>;

constexpr int32_t kPrefix = 0;

// A token a letter, but for "ab": a token where the two stand side by side, as BPE joins them.
Ids Encode(absl::string_view text) {
  Ids ids;
  while (!text.empty()) {
    const bool pair = text.substr(0, 2) == "ab";
    ids.push_back(pair ? 1 : static_cast<uint8_t>(text[0]));
    text.remove_prefix(pair ? 2 : 1);
  }
  return ids;
}

RequestEncoding Encoding(int64_t max_length, bool leading_prefix = false) {
  return {.encode = Encode, .prefix = kPrefix, .leading_prefix = leading_prefix, .max_length = max_length};
}

TEST(EvalEncodeRequest, SpacesGoToTheContinuation) {
  const TokenRequest request = *EncodeRequest({"x \n", " y"}, Encoding(0));
  EXPECT_EQ(request.tokens, (Ids{'x', ' ', '\n', ' ', 'y'}));
  EXPECT_EQ(request.scored, 4);
}

// What the two make together is cut behind as many tokens as the context alone has.
TEST(EvalEncodeRequest, TokensAcrossTheBorder) {
  const TokenRequest request = *EncodeRequest({"xa", "bc"}, Encoding(0));
  EXPECT_EQ(request.tokens, (Ids{'x', 1, 'c'}));
  EXPECT_EQ(request.scored, 1);
  const auto nothing = EncodeRequest({"xa", "b"}, Encoding(0));
  EXPECT_EQ(nothing.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(nothing.status().message()), HasSubstr("\"b\" adds no token"));
  EXPECT_FALSE(EncodeRequest({"x", ""}, Encoding(0)).ok());
}

TEST(EvalEncodeRequest, PrefixStandsForAnEmptyContext) {
  for (const bool leading : {false, true}) {
    for (const char* context : {"", "  "}) {
      const TokenRequest request = *EncodeRequest({context, "y"}, Encoding(0, leading));
      EXPECT_EQ(request.tokens.front(), kPrefix);
      EXPECT_EQ(request.scored + 1, static_cast<int64_t>(request.tokens.size()));
    }
  }
  EXPECT_EQ(EncodeRequest({"x", "y"}, Encoding(0, true))->tokens, (Ids{kPrefix, 'x', 'y'}));
}

// max_length tokens are read; one more is scored.
TEST(EvalEncodeRequest, LongContextsLoseTheirBeginning) {
  const TokenRequest request = *EncodeRequest({"uvwx", "yz"}, Encoding(3, true));
  EXPECT_EQ(request.tokens, (Ids{'w', 'x', 'y', 'z'}));
  EXPECT_EQ(request.scored, 2);
  EXPECT_EQ(EncodeRequest({"uvwx", "yz"}, Encoding(6, true))->tokens.size(), 7u);
  EXPECT_EQ(EncodeRequest({"u", "xyz"}, Encoding(3))->scored, 3);
  const auto longer = EncodeRequest({"u", "wxyz"}, Encoding(3));
  EXPECT_THAT(std::string(longer.status().message()), HasSubstr("4 tokens long, more than --max-length 3"));
}

// The example of the harness's LM.loglikelihood_rolling: ten tokens, four places.
TEST(EvalEncodeRequest, RollingWindows) {
  const std::vector<TokenRequest> windows = EncodeRolling("0123456789", Encoding(4));
  ASSERT_EQ(windows.size(), 3u);
  EXPECT_EQ(windows[0].tokens, (Ids{kPrefix, '0', '1', '2', '3'}));
  EXPECT_EQ(windows[0].scored, 4);
  EXPECT_EQ(windows[1].tokens, (Ids{'3', '4', '5', '6', '7'}));
  EXPECT_EQ(windows[1].scored, 4);
  EXPECT_EQ(windows[2].tokens, (Ids{'5', '6', '7', '8', '9'}));
  EXPECT_EQ(windows[2].scored, 2);

  EXPECT_EQ(EncodeRolling("0123", Encoding(4)).size(), 1u);
  const std::vector<TokenRequest> whole = EncodeRolling("0123456789", Encoding(0, true));
  ASSERT_EQ(whole.size(), 1u);
  EXPECT_EQ(whole[0].scored, 10);
  EXPECT_EQ(whole[0].tokens.size(), 11u) << "one prefix, whatever leads contexts";
  EXPECT_THAT(EncodeRolling("", Encoding(4)), IsEmpty());
}

}  // namespace
}  // namespace photon::eval
