// /v1/chat/completions of a server: the answers are those of /v1/completions to the conversation's text.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "absl/strings/ascii.h"
#include "configs/parse.h"
#include "inference/chat_text.h"
#include "tests/inference/test_server.h"

namespace photon::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;
using Json = nlohmann::json;

// `end`: of replies.
ChatTemplate Dialogue(const std::string& end) {
  ChatTemplate chat;
  const absl::Status parsed = ParseText(R"(role { name: "user" before: "the " after: " end\n" }
                                           role { name: "assistant" before: "of" })",
                                        "chat", &chat);
  EXPECT_TRUE(parsed.ok()) << parsed;
  chat.mutable_role(1)->set_after(end + " \n");
  return chat;
}

TestServerOptions WithChat(const std::string& end) { return {.server = {.chat = Dialogue(end)}}; }

const Json kMessages = Json::array({{{"role", "user"}, {"content", "beginning"}}});
constexpr char kRendered[] = "the beginning end\nof";

httplib::Response Chat(const TestServer& server, const Json& more = Json::object()) {
  Json request = {{"messages", kMessages}, {"max_completion_tokens", 40}, {"seed", 3}};
  request.update(more);
  return server.Post(request.dump(), {}, "/v1/chat/completions");
}

Json Answer(const httplib::Response& response) {
  EXPECT_EQ(response.status, 200) << response.body;
  return Json::parse(response.body);
}

// The contents of a stream's choices, by index; the form of its events is checked.
std::map<int, std::string> ContentsOf(const std::vector<Json>& events) {
  std::map<int, std::string> contents;
  std::map<int, bool> ended;
  for (const Json& event : events) {
    EXPECT_EQ(event["object"], "chat.completion.chunk");
    for (const Json& choice : event["choices"]) {
      const int index = choice["index"];
      const Json& delta = choice["delta"];
      EXPECT_FALSE(ended[index]);
      if (contents.count(index) == 0) {
        EXPECT_EQ(delta, Json({{"role", "assistant"}, {"content", ""}}));
      } else if (choice["finish_reason"].is_null()) {
        EXPECT_EQ(delta.size(), 1u) << delta;
      } else {
        EXPECT_EQ(delta, Json::object());
        ended[index] = true;
      }
      contents[index] += delta.value("content", "");
    }
  }
  for (const auto& [index, over] : ended) EXPECT_TRUE(over) << index;
  return contents;
}

TEST(ServerChat, AnswersAsTheTextIsCompleted) {
  TestServer server(WithChat("!never!"));
  for (const char* mode : {"hier", "hier-parallel", "rec"}) {
    const Json chat = Answer(Chat(server, {{"mode", mode}, {"n", 2}}));
    const Json text = Answer(server.Post(
        Json{{"prompt", kRendered}, {"max_tokens", 40}, {"seed", 3}, {"mode", mode}, {"n", 2}, {"stop", "!never!"}}
            .dump()));
    EXPECT_EQ(chat["object"], "chat.completion");
    EXPECT_THAT(chat["id"].get<std::string>(), StartsWith("chatcmpl-"));
    EXPECT_EQ(chat["model"], "tiny");
    for (const char* count : {"prompt_tokens", "completion_tokens", "total_tokens"}) {
      EXPECT_EQ(chat["usage"][count], text["usage"][count]);
    }
    ASSERT_EQ(chat["choices"].size(), 2u);
    for (int i = 0; i < 2; ++i) {
      const Json& choice = chat["choices"][i];
      EXPECT_EQ(choice["index"], i);
      EXPECT_EQ(choice["message"], Json({{"role", "assistant"}, {"content", text["choices"][i]["text"]}})) << mode;
      EXPECT_EQ(choice["logprobs"], Json());
      EXPECT_EQ(choice["finish_reason"], text["choices"][i]["finish_reason"]);
    }
  }
}

TEST(ServerChat, StreamsTheSame) {
  TestServer server(WithChat("!never!"));
  for (const char* mode : {"hier", "hier-parallel", "rec"}) {
    const Json fields = {{"mode", mode}, {"n", 2}, {"ignore_eos", true}};
    const Json whole = Answer(Chat(server, fields));
    Json stream = fields;
    stream.update({{"stream", true}, {"stream_options", {{"include_usage", true}}}});
    const std::vector<Json> events = EventsOf(Chat(server, stream).body);
    const std::map<int, std::string> contents = ContentsOf(events);
    ASSERT_EQ(contents.size(), 2u);
    for (int i = 0; i < 2; ++i) EXPECT_EQ(Json(contents.at(i)), whole["choices"][i]["message"]["content"]) << mode;
    EXPECT_TRUE(events.back()["choices"].empty());
    EXPECT_EQ(events.back()["usage"]["completion_tokens"], 80);
    EXPECT_EQ(events[events.size() - 2]["choices"][0]["finish_reason"], "length");
  }
}

// What ends a reply is no part of it, nor is its beginning ever sent, as text or as tokens.
TEST(ServerChat, TheEndOfAReplyIsKeptOut) {
  const Json fields = {
      {"max_completion_tokens", 200}, {"logprobs", true}, {"ignore_eos", true}, {"return_token_ids", true}};
  const std::string whole = Answer(Chat(TestServer(WithChat("!never!")), fields))["choices"][0]["message"]["content"];
  size_t from = 30;
  const auto inside = [&](size_t at) { return (whole[at] & 0xC0) == 0x80; };
  while (inside(from) || inside(from + 3) || absl::ascii_isspace(static_cast<unsigned char>(whole[from + 2]))) {
    ASSERT_LT(++from, 100u);
  }
  const std::string end = whole.substr(from, 3), kept = whole.substr(0, whole.find(end));
  TestServer server(WithChat(end));
  const Json choice = Answer(Chat(server, fields))["choices"][0];
  EXPECT_EQ(choice["message"]["content"], kept);
  EXPECT_EQ(choice["finish_reason"], "stop");
  EXPECT_EQ(choice["stop_reason"], end);
  Json stream = fields;
  stream["stream"] = true;
  const std::vector<Json> events = EventsOf(Chat(server, stream).body);
  EXPECT_EQ(ContentsOf(events).at(0), kept);
  EXPECT_EQ(events.back()["choices"][0]["stop_reason"], end);
  Json tokens = Json::array();
  std::vector<int32_t> ids;
  std::string text;
  for (const Json& event : events) {
    const Json& piece = event["choices"][0];
    text += piece["delta"].value("content", "");
    EXPECT_TRUE(piece.contains("token_ids")) << piece;
    if (piece["logprobs"].is_null()) continue;
    for (const Json& token : piece["logprobs"]["content"]) tokens.push_back(token);
    for (const Json& id : piece["token_ids"]) ids.push_back(id);
    EXPECT_LE(server.tokenizer()->Decode(ids).size(), text.size());
  }
  EXPECT_EQ(tokens, choice["logprobs"]["content"]);
  EXPECT_EQ(Json(ids), choice["token_ids"]);
}

TEST(ServerChat, LogprobsOfEachToken) {
  TestServer server(WithChat("!never!"));
  const Json choice =
      Answer(Chat(server, {{"logprobs", true}, {"top_logprobs", 2}, {"ignore_eos", true}}))["choices"][0];
  const Json text = Answer(server.Post(Json{
      {"prompt", kRendered},
      {"max_tokens", 40},
      {"seed", 3},
      {"ignore_eos", true},
      {"logprobs", 2},
      {"stop", "!never!"}}.dump()))["choices"][0];
  const Json& content = choice["logprobs"]["content"];
  ASSERT_EQ(content.size(), 40u);
  for (size_t i = 0; i < content.size(); ++i) {
    EXPECT_EQ(content[i]["token"], text["logprobs"]["tokens"][i]);
    EXPECT_EQ(content[i]["logprob"], text["logprobs"]["token_logprobs"][i]);
    const Json& top = content[i]["top_logprobs"];
    ASSERT_EQ(top.size(), 2u);
    EXPECT_GE(top[0]["logprob"], top[1]["logprob"]);
    for (const Json& other : top) EXPECT_TRUE(other.contains("token") && other.contains("bytes")) << other;
  }
  const Json bare = Answer(Chat(server, {{"logprobs", true}}))["choices"][0]["logprobs"]["content"][0];
  EXPECT_EQ(bare["top_logprobs"], Json::array());
}

TEST(ServerChat, RepliesFillTheContextUnlessTold) {
  TestServerOptions options = WithChat("!never!");
  options.engine.max_context = 100;
  TestServer server(options);
  const Json null;
  const Json usage = Answer(Chat(server, {{"max_completion_tokens", null}, {"ignore_eos", true}}))["usage"];
  EXPECT_EQ(usage["total_tokens"], 100);
  const auto refusal = [&](const Json& more) {
    const httplib::Response response = Chat(server, more);
    EXPECT_EQ(response.status, 400);
    EXPECT_EQ(ErrorOf(response)["code"], "context_length_exceeded") << response.body;
    return ErrorOf(response)["param"];
  };
  EXPECT_EQ(refusal({{"max_completion_tokens", 100}}), "max_completion_tokens");
  EXPECT_EQ(refusal({{"max_completion_tokens", null}, {"max_tokens", 100}}), "max_tokens");
  const Json long_messages = Json::array({{{"role", "user"}, {"content", std::string(500, 'x')}}});
  EXPECT_EQ(refusal({{"messages", long_messages}, {"max_completion_tokens", null}}), "messages");
  EXPECT_EQ(refusal({{"messages", long_messages}, {"max_completion_tokens", null}, {"min_tokens", 10}}), "messages");
}

TEST(ServerChat, RepliesFillTheMemoryUnlessTold) {
  TestServerOptions options = WithChat("!never!");
  options.engine.state_bytes = 60'000;
  TestServer server(options);
  const Json all = {{"max_completion_tokens", Json()}, {"ignore_eos", true}};
  const int64_t written = Answer(Chat(server, all))["usage"]["completion_tokens"];
  EXPECT_GT(written, 40);
  EXPECT_LT(written, 1024);
  EXPECT_EQ(Chat(server, {{"max_completion_tokens", written + 1}}).status, 400);
}

TEST(ServerChat, RepliesAreAsLongAsTheyMustBe) {
  TestServer server(WithChat("!never!"));
  const Json asked = {{"max_completion_tokens", Json()}, {"ignore_eos", true}, {"min_tokens", 1100}};
  EXPECT_EQ(Answer(Chat(server, asked))["usage"]["completion_tokens"], 1100);
}

TEST(ServerChat, NeedsATemplateAndATokenizer) {
  TestServer none;
  const httplib::Response refused = Chat(none);
  EXPECT_EQ(refused.status, 400);
  EXPECT_EQ(ErrorOf(refused)["code"], "no_chat_template");
  EXPECT_THAT(ErrorOf(refused).value("message", ""), HasSubstr("--chat-template FILE"));
  EXPECT_THAT(ErrorOf(refused).value("message", ""), HasSubstr("data.chat_template"));
  TestServerOptions options = WithChat("x");
  options.tokenizer = false;
  TestServer ids(options);
  EXPECT_EQ(ErrorOf(Chat(ids))["code"], "no_chat_template");
  EXPECT_THAT(ErrorOf(Chat(ids)).value("message", ""), HasSubstr("no tokenizer"));
  TestServer server(WithChat("x"));
  EXPECT_EQ(Chat(server, {{"model", "gpt"}}).status, 404);
  for (const auto& [one, has] : {std::pair<TestServer*, bool>{&none, false}, {&ids, false}, {&server, true}}) {
    EXPECT_EQ(Json::parse(one->Client().Get("/v1/models")->body)["data"][0]["has_chat_template"], has);
  }
}

}  // namespace
}  // namespace photon::testing
