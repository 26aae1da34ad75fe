#include "inference/server/chat_request.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "configs/parse.h"
#include "tests/inference/request_cases.h"

namespace photon::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

ChatFormat Format() {
  ChatFormat format;
  const absl::Status parsed = ParseText(R"(role { name: "user" before: "U:" after: "\n" }
                                           role { name: "model" before: "M:" after: "<end>\n" }
                                           reply_role: "model")",
                                        "chat", &format.chat);
  EXPECT_TRUE(parsed.ok()) << parsed;
  format.reply_ends = {.tokens = {7}, .strings = {"<end>"}};
  return format;
}

std::variant<CompletionRequest, ApiError> Parse(const std::string& body) { return ParseChatRequest(body, Format()); }

CompletionRequest ParsedChat(const std::string& body) { return Accepted(Parse, body); }

constexpr char kHi[] = R"("messages": [{"role": "user", "content": "hi"}])";
std::string With(const std::string& fields) { return absl::StrCat("{", kHi, ", ", fields, "}"); }

TEST(ChatRequest, Defaults) {
  const CompletionRequest request = ParsedChat(absl::StrCat("{", kHi, "}"));
  EXPECT_THAT(request.prompts, ElementsAre(Prompt("U:hi\nM:")));
  EXPECT_EQ(request.reply_role, "model");
  EXPECT_EQ(request.options.max_new_tokens, 1024);
  EXPECT_TRUE(request.fits_limit);
  EXPECT_EQ(request.options.log_probabilities, -1);
  EXPECT_EQ(request.options.sampling.temperature, 1);
  EXPECT_THAT(request.options.stop.strings, ElementsAre("<end>"));
  EXPECT_THAT(request.options.stop.tokens, ElementsAre(7));
  EXPECT_FALSE(request.logprobs || request.stream || request.echo);
}

TEST(ChatRequest, ContentsAreTextsOrPartsOfThem) {
  const CompletionRequest request = ParsedChat(
      R"({"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b\u00e9"}]},
          {"role": "model", "content": "", "tool_calls": null, "refusal": null}, {"role": "user", "content": "c", "name": "x"}]})");
  EXPECT_THAT(request.prompts, ElementsAre(Prompt("U:ab\u00e9\nM:<end>\nU:c\nM:")));
}

TEST(ChatRequest, FieldsOfItsOwnAndOfCompletions) {
  const CompletionRequest request = ParsedChat(With(
      R"("max_completion_tokens": 9, "max_tokens": 5, "logprobs": true, "top_logprobs": 3, "stop": ["a"], "n": 2,
         "stop_token_ids": [5], "seed": 4, "temperature": 0.5, "mode": "rec", "min_p": 0.1, "stream": true,
         "stream_options": {"include_usage": true}, "model": "m", "user": "u", "ignore_eos": true)"));
  EXPECT_EQ(request.options.max_new_tokens, 9);
  EXPECT_FALSE(request.fits_limit);
  EXPECT_TRUE(request.logprobs && request.stream && request.usage_at_end && request.ignore_eos);
  EXPECT_EQ(request.options.log_probabilities, 3);
  EXPECT_THAT(request.options.stop.strings, ElementsAre("a", "<end>"));
  EXPECT_THAT(request.options.stop.tokens, ElementsAre(5, 7));
  EXPECT_EQ(request.options.continuations, 2);
  EXPECT_EQ(request.options.mode, GenerationMode::kRec);
  EXPECT_EQ(request.options.sampling.min_p, 0.1);
  EXPECT_EQ(request.seed, 4u);
  EXPECT_EQ(ParsedChat(With(R"("max_tokens": 5)")).options.max_new_tokens, 5);
}

TEST(ChatRequest, WhatAsksForNothingIsIgnored) {
  ParsedChat(With(R"("tools": [], "tool_choice": "none", "functions": null, "response_format": {"type": "text"},
                 "modalities": ["text"], "audio": null, "echo": false, "add_generation_prompt": true,
                 "continue_final_message": false, "top_logprobs": 0, "store": false, "metadata": {}, "best_of": null)"));
}

TEST(ChatRequest, MessagesThatAreNone) {
  const std::vector<RefusedFields> cases = {
      {"null", "messages", "messages is missing"},
      {"[]", "messages", "an empty array"},
      {R"("hi")", "messages", "messages is a string: give an array"},
      {R"(["hi"])", "messages[0]", "messages[0] is a string: give an object"},
      {R"([{"content": "x"}])", "messages[0].role", "is missing"},
      {R"([{"role": 1, "content": "x"}])", "messages[0].role", "is 1: give a string"},
      {R"([{"role": "user", "content": "x"}, {"role": "tool", "content": "x"}])", "messages[1].role",
       "is \"tool\": the model's chat template knows user, model"},
      {R"([{"role": "user"}])", "messages[0].content", "is missing"},
      {R"([{"role": "user", "content": null}])", "messages[0].content", "is missing"},
      {R"([{"role": "user", "content": 5}])", "messages[0].content", "is 5: give a string, or an array of parts"},
      {R"([{"role": "user", "content": []}])", "messages[0].content", "an empty array"},
      {R"([{"role": "user", "content": ["x"]}])", "messages[0].content[0]", "is a string: give an object"},
      {R"([{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "image_url", "image_url": {}}]}])",
       "messages[0].content[1].type", "is \"image_url\": only text is read here"},
      {R"([{"role": "user", "content": [{"text": "a"}]}])", "messages[0].content[0].type", "only text"},
      {R"([{"role": "user", "content": [{"type": "text"}]}])", "messages[0].content[0].text", "is missing"},
      {R"([{"role": "user", "content": [{"type": "text", "text": 1}]}])", "messages[0].content[0].text", "is 1"},
      {R"([{"role": "model", "content": "x", "tool_calls": [{}]}])", "messages[0].tool_calls", "not supported"},
  };
  ExpectRefusals(cases,
                 [](const std::string& messages) { return Parse(absl::StrCat("{\"messages\": ", messages, "}")); });
  std::string many = R"({"role": "user", "content": "x"})";
  for (int i = 0; i < 1024; ++i) absl::StrAppend(&many, R"(,{"role": "user", "content": "x"})");
  const auto parsed = Parse(absl::StrCat("{\"messages\": [", many, "]}"));
  EXPECT_THAT(std::get<ApiError>(parsed).message, HasSubstr("holds 1025: give 1024 at most"));
}

TEST(ChatRequest, ErrorsNameTheField) {
  const std::vector<RefusedFields> cases = {
      {R"("max_completion_tokens": 0)", "max_completion_tokens", "from 1"},
      {R"("max_tokens": 0)", "max_tokens", "from 1"},
      {R"("min_tokens": 20, "max_tokens": 10)", "min_tokens", "more than max_tokens, 10"},
      {R"("min_tokens": 2000, "max_completion_tokens": 1024)", "min_tokens", "more than max_completion_tokens, 1024"},
      {R"("logprobs": 3)", "logprobs", "true or false"},
      {R"("logprobs": true, "top_logprobs": 21)", "top_logprobs", "from 0 to 20"},
      {R"("top_logprobs": 2)", "top_logprobs", "needs \"logprobs\": true"},
      {R"("tools": [{}])", "tools", "not supported"},
      {R"("functions": [{}])", "functions", "not supported"},
      {R"("function_call": "auto")", "function_call", "anything but \"none\""},
      {R"("tool_choice": "auto")", "tool_choice", "anything but \"none\""},
      {R"("response_format": {"type": "json_object"})", "response_format", "not supported"},
      {R"("modalities": ["text", "audio"])", "modalities", "anything but [\"text\"]"},
      {R"("audio": {"voice": "x"})", "audio", "not supported"},
      {R"("chat_template": "x")", "chat_template", "not supported"},
      {R"("add_generation_prompt": false)", "add_generation_prompt", "anything but true"},
      {R"("continue_final_message": true)", "continue_final_message", "not supported"},
      {R"("prompt": "x")", "prompt", "a field of /v1/completions"},
      {R"("echo": true)", "echo", "a field of /v1/completions"},
      {R"("best_of": 2)", "best_of", "a field of /v1/completions"},
      {R"("vote": "x")", "vote", "a field of /v1/completions"},
      {R"("suffix": "x")", "suffix", "not supported"},
      {R"("stop": "")", "stop", "empty string"},
      {R"("stream_options": {})", "stream_options", "needs \"stream\": true"},
      {R"("temperature": -1)", "temperature", "from 0"},
      {R"("mode": "fast")", "mode", "give hier"},
      {R"("n": 129)", "n", "from 1 to 128"},
  };
  ExpectRefusals(cases, [](const std::string& fields) { return Parse(With(fields)); });
  EXPECT_EQ(Refused(Parse, "[1]").code, "invalid_json");
  ExpectGoodExample(Parse);
}

}  // namespace
}  // namespace photon::testing
