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

const std::vector<ChatMessage> kMessages = {
    {"system", "Be brief."}, {"user", "Hi\n"}, {"assistant", " Hello."}, {"user", "Why?"}};

TEST(ChatText, Chatml) {
  EXPECT_EQ(ChatText(Shipped("chatml"), kMessages),
            "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi\n<|im_end|>\n"
            "<|im_start|>assistant\n Hello.<|im_end|>\n<|im_start|>user\nWhy?<|im_end|>\n<|im_start|>assistant\n");
}

TEST(ChatText, Plain) {
  EXPECT_EQ(ChatText(Shipped("plain"), kMessages),
            "Be brief.\n\nUser: Hi\n\nAssistant: Hello.\nUser: Why?\nAssistant:");
}

TEST(ChatText, StartsOnce) {
  ChatTemplate chat = Shipped("plain");
  chat.set_start("A dialogue.\n");
  EXPECT_EQ(ChatText(chat, absl::MakeConstSpan(kMessages).subspan(1, 1)), "A dialogue.\nUser: Hi\n\nAssistant:");
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
  EXPECT_THAT(ends.tokens, ElementsAre(tokenizer->eos()));
}

}  // namespace
}  // namespace photon::testing
