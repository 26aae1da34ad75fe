// What the server answers to good requests.
#include "inference/server/server.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "absl/strings/match.h"
#include "inference/generate.h"
#include "inference/prompt_text.h"
#include "tests/inference/test_server.h"

namespace photon::testing {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::Not;
using Json = nlohmann::json;

Json Choices(const httplib::Response& response) {
  EXPECT_EQ(response.status, 200) << response.body;
  return Json::parse(response.body)["choices"];
}

// The texts of a stream's choices, by index.
std::map<int, std::string> TextsOf(const std::vector<Json>& events) {
  std::map<int, std::string> texts;
  for (const Json& event : events) {
    for (const Json& choice : event["choices"]) texts[choice["index"]] += choice["text"];
  }
  return texts;
}

TEST(Server, CompletesAsGenerateDoes) {
  TestServer server;
  const char* const modes[] = {"hier", "hier-parallel", "rec"};
  std::vector<Json> responses;
  for (const char* mode : modes) {
    const httplib::Response response = server.Complete(absl::StrCat(
        R"("prompt": "the end", "max_tokens": 21, "seed": 5, "return_token_ids": true, "mode": ")", mode, "\""));
    ASSERT_EQ(response.status, 200) << response.body;
    responses.push_back(Json::parse(response.body));
  }
  server->Drain();
  ASSERT_TRUE(Soon([&] { return server.over(); }));  // from here on the decoder is ours
  const std::vector<int32_t> prompt = EncodeWithBos(*server.tokenizer(), "the end");
  for (size_t i = 0; i < responses.size(); ++i) {
    GenerateOptions options;
    options.mode = *ParseGenerationMode(modes[i]);
    options.max_new_tokens = 21;
    options.sampling.temperature = 1;
    options.sampling.seed = 5;
    options.stop.tokens = {server.tokenizer()->eos()};
    const auto expected = Generate(server.decoder(), prompt, options, server.tokenizer());
    ASSERT_TRUE(expected.ok()) << expected.status();
    const Json& choice = responses[i]["choices"][0];
    EXPECT_EQ(choice["token_ids"], expected->continuations[0].tokens) << modes[i];
    EXPECT_EQ(choice["text"], expected->continuations[0].text);
    EXPECT_EQ(responses[i]["usage"]["prompt_tokens"], prompt.size());
    EXPECT_EQ(responses[i]["usage"]["completion_tokens"], choice["token_ids"].size());
  }
}

TEST(Server, StreamsTheSameText) {
  TestServer server;
  for (const char* mode : {"hier", "hier-parallel", "rec"}) {
    const std::string fields = absl::StrCat(
        R"("prompt": "the", "max_tokens": 40, "seed": 3, "n": 2, "ignore_eos": true, "mode": ")", mode, "\"");
    const Json whole = Choices(server.Complete(fields));
    const httplib::Response response = server.Complete(
        fields + R"(, "stream": true, "stream_options": {"include_usage": true})", {{"Accept-Encoding", "gzip, br"}});
    EXPECT_EQ(response.status, 200);
    EXPECT_EQ(response.get_header_value("Content-Type"), "text/event-stream");
    EXPECT_FALSE(response.has_header("Content-Encoding"));  // compressing would gather what should come at once
    const std::vector<Json> events = EventsOf(response.body);
    const std::map<int, std::string> texts = TextsOf(events);
    ASSERT_EQ(texts.size(), 2u);
    for (int i = 0; i < 2; ++i) EXPECT_EQ(Json(texts.at(i)), whole[i]["text"]) << mode;
    EXPECT_TRUE(events.back()["choices"].empty());
    EXPECT_EQ(events.back()["usage"]["completion_tokens"], 80);
    EXPECT_EQ(events[0]["usage"], Json());
    EXPECT_EQ(events[0]["id"], events.back()["id"]);
  }
}

TEST(Server, StopStringsStayOutOfStreams) {
  TestServer server;
  const std::string whole = Choices(server.Complete(R"("prompt": "the", "max_tokens": 200, "seed": 3)"))[0]["text"];
  // Something that comes, and whose beginning comes alone before.
  ASSERT_GT(whole.size(), 40u);
  size_t from = 30;
  while ((whole[from] & 0xC0) == 0x80) ++from;
  size_t to = from + 3;
  while ((whole[to] & 0xC0) == 0x80) ++to;
  const std::string stop = whole.substr(from, to - from);
  const Json request = {{"prompt", "the"}, {"max_tokens", 200}, {"seed", 3}, {"stop", stop}, {"stream", true}};
  const std::vector<Json> events = EventsOf(server.Post(request.dump()).body);
  const std::string text = TextsOf(events).at(0);
  EXPECT_EQ(text, whole.substr(0, whole.find(stop)));
  EXPECT_EQ(events.back()["choices"][0]["finish_reason"], "stop");
  EXPECT_EQ(events.back()["choices"][0]["stop_reason"], stop);
}

// Nor do tokens tell what the text leaves out, or earlier than it does.
TEST(Server, StopStringsStayOutOfTokens) {
  TestServer server;
  const Json fields = {{"prompt", "the"},    {"max_tokens", 60}, {"seed", 3},
                       {"ignore_eos", true}, {"logprobs", 0},    {"return_token_ids", true}};
  const auto with = [&](const Json& more) {
    Json request = fields;
    request.update(more);
    return request.dump();
  };
  const Json whole = Choices(server.Post(fields.dump()))[0];
  const std::vector<int32_t> ids = whole["token_ids"];
  // Text of three tokens in a row.
  size_t first = 20;
  const auto text_of = [&](size_t i) { return server.tokenizer()->Decode({ids[i], ids[i + 1], ids[i + 2]}); };
  while (text_of(first).size() < 3 || absl::StrContains(text_of(first), "\xEF\xBF\xBD")) ASSERT_LT(++first, 55u);
  const std::string stop = text_of(first);
  const std::string kept = whole["text"].get<std::string>().substr(0, whole["text"].get<std::string>().find(stop));
  for (const bool never : {false, true}) {
    SCOPED_TRACE(never);
    // One that comes, and one that only begins.
    const Json more = {{"stop", never ? stop + "!never!" : stop}};
    const Json choice = Choices(server.Post(with(more)))[0];
    const std::vector<int32_t> sent = choice["token_ids"];
    if (!never) {
      EXPECT_EQ(choice["text"], kept);
    }
    EXPECT_EQ(sent, std::vector<int32_t>(ids.begin(), ids.begin() + static_cast<int64_t>(sent.size())));
    EXPECT_EQ(server.tokenizer()->Decode(sent), never ? server.tokenizer()->Decode(ids) : kept);
    EXPECT_EQ(choice["logprobs"]["tokens"].size(), sent.size());
    Json stream = more;
    stream["stream"] = true;
    std::string text;
    std::vector<int32_t> streamed;
    Json names = Json::array();
    for (const Json& event : EventsOf(server.Post(with(stream)).body)) {
      const Json& piece = event["choices"][0];
      text += piece["text"].get<std::string>();
      for (const Json& id : piece["token_ids"]) streamed.push_back(id);
      for (const Json& name : piece["logprobs"]["tokens"]) names.push_back(name);
      EXPECT_LE(server.tokenizer()->Decode(streamed).size(), text.size());
    }
    EXPECT_EQ(Json(text), choice["text"]);
    EXPECT_EQ(streamed, sent);
    EXPECT_EQ(names, choice["logprobs"]["tokens"]);
  }
}

TEST(Server, BadWordsAndAllowedTokens) {
  TestServer server;
  const Json fields = {{"prompt", "the"}, {"max_tokens", 60}, {"seed", 3}, {"ignore_eos", true}};
  const auto complete = [&](const Json& more) {
    Json request = fields;
    request.update(more);
    const httplib::Response response = server.Post(request.dump());
    EXPECT_EQ(response.status, 200) << response.body;
    return Choices(response)[0];
  };
  // A word of two tokens, which together are the text's own way to write it.
  std::string word;
  const std::vector<int32_t> tokens = complete({{"return_token_ids", true}})["token_ids"];
  for (size_t i = 0; i + 1 < tokens.size() && word.empty(); ++i) {
    const std::string text = server.tokenizer()->Decode({tokens[i], tokens[i + 1]});
    const bool ascii = std::all_of(text.begin(), text.end(), [](char c) { return c > ' ' && c < 127; });
    std::vector<int32_t> inside = server.tokenizer()->Encode("\n" + text);
    inside.erase(inside.begin(), inside.end() - std::min<int64_t>(2, inside.size()));
    if (ascii && inside == std::vector<int32_t>{tokens[i], tokens[i + 1]}) word = text;
  }
  ASSERT_FALSE(word.empty());
  for (const char* mode : {"hier", "hier-parallel", "rec"}) {
    EXPECT_THAT(complete({{"bad_words", {word}}, {"mode", mode}})["text"].get<std::string>(), Not(HasSubstr(word)));
    const std::vector<int32_t> allowed = {40, 41};
    const Json choice = complete({{"allowed_token_ids", allowed}, {"return_token_ids", true}, {"mode", mode}});
    for (const int32_t token : choice["token_ids"]) EXPECT_THAT(allowed, Contains(token));
  }
  const httplib::Response empty = server.Complete(R"("prompt": "the", "bad_words": [" "])");
  EXPECT_EQ(empty.status, 400);
  EXPECT_EQ(ErrorOf(empty)["param"], "bad_words") << empty.body;
  const httplib::Response unknown = server.Complete(R"("prompt": "the", "allowed_token_ids": [100000])");
  EXPECT_EQ(ErrorOf(unknown)["param"], "allowed_token_ids") << unknown.body;
}

TEST(Server, PromptsAndContinuationsAreNumbered) {
  TestServer server;
  const Json choices =
      Choices(server.Complete(R"("prompt": ["the", "end"], "n": 2, "max_tokens": 8, "seed": 1, "ignore_eos": true)"));
  ASSERT_EQ(choices.size(), 4u);
  for (int i = 0; i < 4; ++i) EXPECT_EQ(choices[i]["index"], i);
  const Json one =
      Choices(server.Complete(R"("prompt": "end", "n": 2, "max_tokens": 8, "seed": 1, "ignore_eos": true)"));
  EXPECT_EQ(choices[2]["text"], one[0]["text"]);
  EXPECT_EQ(choices[3]["text"], one[1]["text"]);
}

TEST(Server, TheBestOfSeveral) {
  TestServer server;
  const std::string fields = R"("prompt": "the", "max_tokens": 6, "seed": 1, "logprobs": 0, "ignore_eos": true, )";
  const Json all = Choices(server.Complete(fields + R"("n": 5)"));
  const httplib::Response response = server.Complete(fields + R"("n": 1, "best_of": 5)");
  const auto mean = [](const Json& choice) {
    double sum = 0;
    for (const double value : choice["logprobs"]["token_logprobs"]) sum += value;
    return sum / static_cast<double>(choice["logprobs"]["token_logprobs"].size());
  };
  Json best = all[0];
  for (const Json& choice : all) {
    if (mean(choice) > mean(best)) best = choice;
  }
  EXPECT_EQ(Choices(response)[0]["text"], best["text"]);
  EXPECT_EQ(Json::parse(response.body)["usage"]["completion_tokens"], 30);
}

TEST(Server, TheAnswerThatMostGive) {
  TestServer server;
  const std::string fields = R"("max_tokens": 6, "seed": 1, "n": 9, "ignore_eos": true)";
  const Json all = Choices(server.Complete(R"("prompt": "the", )" + fields));
  // The first letter of each text.
  std::map<std::string, int> votes;
  int answers = 0, most = 0;
  for (const Json& choice : all) {
    const std::string text = choice["text"];
    const size_t letter = text.find_first_of("abcdefghijklmnopqrstuvwxyz");
    if (letter == std::string::npos) continue;
    ++answers;
    most = std::max(most, ++votes[text.substr(letter, 1)]);
  }
  ASSERT_GT(most, 1);
  const httplib::Response response =
      server.Complete(R"("prompt": ["the", "the"], "vote": "(?s)^[^a-z]*([a-z]).*", )" + fields);
  const Json chosen = Choices(response);
  ASSERT_EQ(chosen.size(), 2u);
  for (int i = 0; i < 2; ++i) {
    const Json& vote = chosen[i]["vote"];
    EXPECT_EQ(chosen[i]["index"], i);
    EXPECT_EQ(vote["votes"], most);
    EXPECT_EQ(vote["votes"], votes[vote["answer"]]);
    EXPECT_EQ(vote["answers"], answers);
    EXPECT_EQ(vote["continuations"], 9);
    EXPECT_EQ(chosen[i]["logprobs"], Json());
    const bool among =
        std::any_of(all.begin(), all.end(), [&](const Json& choice) { return choice["text"] == chosen[i]["text"]; });
    EXPECT_TRUE(among) << chosen[i];
  }
  EXPECT_EQ(Json::parse(response.body)["usage"]["completion_tokens"], 108);
  const Json none = Choices(server.Complete(R"("prompt": "the", "vote": "[0-9]{40}", )" + fields))[0];
  EXPECT_EQ(none["vote"]["answer"], Json());
  EXPECT_EQ(none["vote"]["votes"], 0);
}

TEST(Server, LogprobsFollowTheText) {
  TestServer server;
  const std::string fields = R"("prompt": "the", "max_tokens": 12, "seed": 2, "ignore_eos": true, "logprobs": 3)";
  const Json choice = Choices(server.Complete(fields))[0];
  const Json& logprobs = choice["logprobs"];
  ASSERT_EQ(logprobs["tokens"].size(), 12u);
  for (size_t i = 0; i < 12; ++i) {
    const Json& top = logprobs["top_logprobs"][i];
    EXPECT_TRUE(top.contains(logprobs["tokens"][i].get<std::string>())) << i;
    EXPECT_GE(top.size(), 2u);
    EXPECT_LE(logprobs["token_logprobs"][i], 0);
  }
  std::vector<Json> streamed;
  for (const Json& event : EventsOf(server.Complete(fields + R"(, "stream": true)").body)) {
    const Json& piece = event["choices"][0]["logprobs"];
    if (piece.is_null()) continue;
    for (const Json& offset : piece["text_offset"]) streamed.push_back(offset);
  }
  EXPECT_EQ(Json(streamed), logprobs["text_offset"]);
}

TEST(Server, EchoPutsThePromptBefore) {
  TestServer server;
  const std::string fields = R"("prompt": "the end", "max_tokens": 4, "seed": 2, "echo": true)";
  const std::string text = Choices(server.Complete(fields))[0]["text"];
  EXPECT_EQ(text.substr(0, 7), "the end");
  EXPECT_EQ(TextsOf(EventsOf(server.Complete(fields + R"(, "stream": true)").body)).at(0), text);
}

// A prompt of ids may end inside a character: what echoes it goes on as the text of all ids does.
TEST(Server, EchoLeavesAnUnfinishedCharacterToTheText) {
  TestServer server;
  std::vector<int32_t> ids = server.tokenizer()->Encode("the \xc3\xa9");  // spelt in bytes, the last of them left out
  ids.pop_back();
  const Json request = {{"prompt", ids}, {"max_tokens", 12},         {"seed", 2},
                        {"echo", true},  {"return_token_ids", true}, {"ignore_eos", true}};
  const Json choice = Choices(server.Post(request.dump()))[0];
  for (const Json& id : choice["token_ids"]) ids.push_back(id);
  EXPECT_EQ(choice["text"], server.tokenizer()->Decode(ids));
}

TEST(Server, SeedsAreRandomUnlessGiven) {
  TestServer server;
  const auto text = [&](const char* more) {
    return Choices(server.Complete(
        absl::StrCat(R"("prompt": "the", "max_tokens": 24, "ignore_eos": true)", more)))[0]["text"]
        .get<std::string>();
  };
  EXPECT_NE(text(""), text(""));
  EXPECT_EQ(text(R"(, "seed": 9)"), text(R"(, "seed": 9)"));
  const Json twice = Choices(server.Complete(R"("prompt": ["the", "the"], "max_tokens": 24, "ignore_eos": true)"));
  EXPECT_NE(twice[0]["text"], twice[1]["text"]);
}

TEST(Server, IdsAloneWithoutATokenizer) {
  TestServer server({.tokenizer = false});
  const Json choice = Choices(server.Complete(R"("prompt": [1, 2, 3], "max_tokens": 5)"))[0];
  EXPECT_EQ(choice["text"], "");
  EXPECT_EQ(choice["token_ids"].size(), 5u);
  const httplib::Response text = server.Complete(R"("prompt": "the")");
  EXPECT_EQ(text.status, 400);
  EXPECT_EQ(ErrorOf(text)["param"], "prompt");
  EXPECT_EQ(ErrorOf(server.Complete(R"("prompt": [1], "stop": "x")"))["param"], "stop");
  EXPECT_EQ(ErrorOf(server.Complete(R"("prompt": [1], "vote": "x")"))["param"], "vote");
}

TEST(Server, OtherPaths) {
  TestServer server;
  httplib::Client client = server.Client();
  const Json models = Json::parse(client.Get("/v1/models")->body);
  EXPECT_EQ(models["data"][0]["id"], "tiny");
  EXPECT_EQ(models["data"][0]["modes"], Json({"hier", "hier-parallel", "rec"}));
  EXPECT_EQ(Json::parse(client.Get("/v1/models/tiny")->body)["id"], "tiny");
  EXPECT_EQ(client.Get("/v1/models/other")->status, 404);
  EXPECT_EQ(client.Get("/health")->status, 200);
  EXPECT_EQ(client.Get("/ready")->status, 200);
  EXPECT_THAT(client.Get("/")->body, HasSubstr("<title>PHOTON</title>"));
  EXPECT_THAT(client.Get("/")->body, Not(HasSubstr("http")));  // nothing from elsewhere
  server.Complete(R"("prompt": "the", "max_tokens": 7, "ignore_eos": true)");
  // Counts come a moment after what they count was sent.
  for (const char* line : {"photon_generated_tokens_total 7\n", "photon_time_to_first_token_seconds_count 1\n",
                           "photon_time_between_bursts_seconds_count 6\n", "photon_requests_total{code=\"404\"} 1\n"}) {
    EXPECT_TRUE(Soon([&] { return absl::StrContains(client.Get("/metrics")->body, line); })) << line;
  }
}

TEST(Server, OlderAndStrangerClients) {
  TestServer server;
  const std::string body = R"({"prompt": "the", "max_tokens": 3, "stream": true})";
  RawClient old(server->port());
  old.Send(RawPost(body, "HTTP/1.0"));
  const std::string streamed = old.Receive();  // to the connection's end
  EXPECT_THAT(streamed, Not(HasSubstr("chunked")));
  EventsOf(streamed.substr(streamed.find("\r\n\r\n") + 4));
  RawClient hasty(server->port());  // sends the next before it has the answer
  hasty.Send(RawPost(R"({"prompt": "the"})") + "GET /health HTTP/1.1\r\nConnection: close\r\n\r\n");
  EXPECT_THAT(hasty.Receive(), HasSubstr(R"({"status":"ok"})"));
  RawClient chunked(server->port());
  chunked.Send(
      "POST /v1/completions HTTP/1.1\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n"
      "Connection: close\r\n\r\n8\r\n{\"prompt\r\n8\r\n\":\"the\"}\r\n0\r\n\r\n");
  EXPECT_THAT(chunked.Receive(), HasSubstr("200 OK"));
}

}  // namespace
}  // namespace photon::testing
