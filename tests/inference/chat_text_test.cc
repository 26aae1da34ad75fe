#include "inference/chat_text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "configs/chat_template.h"
#include "tests/data/bpe/styles.h"
#include "tests/inference/test_server.h"

namespace photon::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

ChatTemplate Shipped(const std::string& name) {
  return *LoadChatTemplate(PHOTON_SOURCE_DIR "/configs/chat/" + name + ".textproto");
}

const std::vector<ChatMessage> kConversation = {
    {"system", "Be brief."}, {"user", "Hi\n"}, {"assistant", " Hello."}, {"user", "Why?"}};

TEST(ChatText, Chatml) {
  EXPECT_EQ(ChatText(Shipped("chatml"), kConversation),
            "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi\n<|im_end|>\n"
            "<|im_start|>assistant\n Hello.<|im_end|>\n<|im_start|>user\nWhy?<|im_end|>\n<|im_start|>assistant\n");
}

TEST(ChatText, Plain) {
  EXPECT_EQ(ChatText(Shipped("plain"), kConversation),
            "Be brief.\n\nUser: Hi\n\nAssistant: Hello.\nUser: Why?\nAssistant:");
}

TEST(ChatText, StartsOnce) {
  ChatTemplate chat = Shipped("plain");
  chat.set_start("A dialogue.\n");
  EXPECT_EQ(ChatText(chat, absl::MakeConstSpan(kConversation).subspan(1, 1)), "A dialogue.\nUser: Hi\n\nAssistant:");
}

TEST(MarkersWithoutToken, AreThoseOfOtherTokenizers) {
  const auto tokenizer = *Tokenizer::FromBytes(FindStyle("gpt2").tokenizer.dump(), "gpt2");
  EXPECT_THAT(MarkersWithoutToken(Shipped("chatml"), *tokenizer), ElementsAre("<|im_end|>", "<|im_start|>"));
  EXPECT_THAT(MarkersWithoutToken(Shipped("plain"), *tokenizer), IsEmpty());
  ChatTemplate known = Shipped("plain");
  known.set_start("<|endoftext|>");
  EXPECT_THAT(MarkersWithoutToken(known, *tokenizer), IsEmpty());
}

TEST(ReplyEnds, WhereTheNextMessageWouldBegin) {
  const auto tokenizer = SmallTokenizer();
  const StopOptions chatml = *ReplyEnds(Shipped("chatml"), *tokenizer);
  EXPECT_THAT(chatml.strings, ElementsAre("<|im_end|>"));
  EXPECT_THAT(chatml.tokens, IsEmpty());
  EXPECT_THAT(ReplyEnds(Shipped("plain"), *tokenizer)->strings, ElementsAre("\nUser:", "\nAssistant:"));
  ChatTemplate chat = Shipped("plain");
  chat.add_stop("\xff");
  EXPECT_THAT(std::string(ReplyEnds(chat, *tokenizer).status().message()), HasSubstr("byte 1 is no UTF-8"));
}

// Its text never comes.
TEST(ReplyEnds, AtATokenThatGivesNoText) {
  const auto tokenizer = *Tokenizer::FromBytes(FindStyle("gpt2").tokenizer.dump(), "gpt2");
  ChatTemplate chat = Shipped("chatml");
  chat.mutable_role(2)->set_after("<|endoftext|>\n");
  const StopOptions ends = *ReplyEnds(chat, *tokenizer);
  EXPECT_THAT(ends.strings, IsEmpty());
  EXPECT_THAT(ends.tokens, IsEmpty()) << "end-of-text ends texts by itself";
}

// Text behind such a token is never waited for; before it, nothing could be found.
TEST(ReplyEnds, AtTheFirstOfSuchTokens) {
  nlohmann::json json = FindStyle("gpt2").tokenizer;
  const int32_t id = static_cast<int32_t>(json["model"]["vocab"].size() + json["added_tokens"].size());
  json["added_tokens"].push_back({{"id", id}, {"content", "<|im_end|>"}, {"special", true}, {"normalized", false}});
  const auto tokenizer = *Tokenizer::FromBytes(json.dump(), "gpt2");
  ChatTemplate chat = Shipped("chatml");
  EXPECT_THAT(ReplyEnds(chat, *tokenizer)->tokens, ElementsAre(id));
  chat.add_stop("<|im_end|><|endoftext|>\n");
  EXPECT_THAT(ReplyEnds(chat, *tokenizer)->tokens, ElementsAre(id, id));
  EXPECT_THAT(ReplyEnds(chat, *tokenizer)->strings, IsEmpty());
  chat.add_stop("\n<|im_end|>");
  EXPECT_THAT(std::string(ReplyEnds(chat, *tokenizer).status().message()),
              HasSubstr("\"\\n<|im_end|>\", in which a special token follows other text"));
}

}  // namespace
}  // namespace photon::testing
