// Whom the server gives up, how it ends, and what it survives.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "absl/strings/match.h"
#include "core/random.h"
#include "inference/server/completion.h"
#include "tests/inference/test_server.h"

namespace photon::testing {
namespace {

using ::testing::AnyOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;

// Libraries keep something for every thread that used them, some for ever.
TEST(ServerSurvives, ConnectionsOneAfterAnotherWithTheThreadsOfOne) {
  TestServer server;
  const auto threads = [] {
    namespace fs = std::filesystem;
    return std::distance(fs::directory_iterator("/proc/self/task"), fs::directory_iterator());
  };
  int64_t before = 0;
  for (int i = 0; i < 50; ++i) {
    EXPECT_EQ(server.Complete(R"("prompt": "the", "max_tokens": 1)").status, 200);
    EXPECT_TRUE(
        Soon([&] { return absl::StrContains(server.Client().Get("/metrics")->body, "photon_connections 1\n"); }));
    if (i == 4) before = threads();
  }
  EXPECT_LE(threads(), before + 2);
}

TEST(ServerEnds, ForClientsThatLeave) {
  TestServer server;
  for (const bool stream : {false, true}) {
    {
      RawClient client(server->port());
      client.Send(RawPost(absl::StrCat("{", kLong, stream ? R"(, "stream": true)" : "", "}")));
      if (stream) client.Receive("\"text\"");
      ASSERT_TRUE(Soon([&] { return server.engine().stats().running == 1; }));
    }
    EXPECT_TRUE(Soon([&] { return server.engine().stats().running == 0; })) << stream;
    const std::string counted = absl::StrCat("photon_requests_total{code=\"499\"} ", stream ? 2 : 1, "\n");
    EXPECT_TRUE(Soon([&] { return absl::StrContains(server.Client().Get("/metrics")->body, counted); })) << stream;
  }
}

// The engine steps where the test says so: once after the client was found to have left, and its place is free.
TEST(ServerEnds, ForClientsThatLeaveWithinAStep) {
  TestContext context;
  const auto model = MakeModel(context, {});
  const auto decoder = Decoder::Create(context, *model);
  for (const bool stream : {false, true}) {
    SCOPED_TRACE(stream);
    Engine engine(*decoder, nullptr, {});
    Metrics metrics;
    std::atomic<bool> left = false;
    CompletionRequest request;
    request.prompts = {std::vector<int32_t>{1, 2, 3}};
    request.options.max_new_tokens = 1'000'000;
    request.stream = stream;
    Completion::Result started = Completion::Start(
        engine, request, {}, {}, [&] { return left.load(); }, &metrics);
    ASSERT_TRUE(std::holds_alternative<std::unique_ptr<Completion>>(started));
    std::thread connection([&] {
      const HttpResponse response = Completion::Answer(std::get<std::unique_ptr<Completion>>(std::move(started)));
      if (response.stream) response.stream([&](absl::string_view) { return !left; });
    });
    for (int i = 0; i < 3; ++i) engine.Step();
    EXPECT_EQ(engine.stats().running, 1);
    left = true;
    connection.join();  // no step is needed for it to notice
    const int64_t steps = engine.stats().steps;
    engine.Step();
    EXPECT_EQ(engine.stats().running, 0);
    EXPECT_LE(engine.stats().steps, steps + 1);
  }
}

TEST(ServerEnds, Draining) {
  TestServer server;
  RawClient client(server->port());
  client.Send(RawPost(R"({"prompt": "the", "max_tokens": 3000, "ignore_eos": true, "stream": true})"));
  const std::string begin = client.Receive("\"text\"");
  EXPECT_THAT(begin, StartsWith("HTTP/1.1 200 "));
  server->Drain();
  const auto ready = server.Client().Get("/ready");
  const httplib::Response refused = server.Complete(R"("prompt": "the")");
  EXPECT_FALSE(server.over()) << "too fast to be tested: raise max_tokens";
  EXPECT_EQ(ready->status, 503);
  EXPECT_EQ(refused.status, 503);
  EXPECT_EQ(ErrorOf(refused)["code"], "shutting_down");
  EXPECT_EQ(server.Client().Get("/health")->status, 200);
  const std::string rest = client.Receive();
  EXPECT_THAT(rest, HasSubstr("\"length\""));
  EXPECT_THAT(rest, HasSubstr("data: [DONE]"));
  EXPECT_TRUE(Soon([&] { return server.over(); }));
}

// Whether it was read when the end was asked for, or lay in the socket, or its connection was not even accepted.
TEST(ServerEnds, NoRequestThatWasSentGoesWithoutAnAnswer) {
  TestServer server;
  const std::string request = RawPost(R"({"prompt": "the", "max_tokens": 1})");
  RawClient slow(server->port()), kept(server->port());
  slow.Send(request.substr(0, 20));
  kept.Send(request);
  EXPECT_THAT(kept.Receive("}}}"), StartsWith("HTTP/1.1 200 "));
  ASSERT_TRUE(Soon([&] { return absl::StrContains(server.Client().Get("/metrics")->body, "photon_connections 3\n"); }));
  std::vector<std::unique_ptr<RawClient>> many;
  for (int i = 0; i < 200; ++i) many.push_back(std::make_unique<RawClient>(server->port()));
  kept.Send(request);
  for (const auto& client : many) client->Send(request);
  server->Drain();
  for (const auto& client : many) {
    EXPECT_THAT(client->Receive("\r\n\r\n"), AnyOf(StartsWith("HTTP/1.1 200 "), StartsWith("HTTP/1.1 503 ")));
  }
  EXPECT_THAT(kept.Receive("\r\n\r\n"), AnyOf(StartsWith("HTTP/1.1 200 "), StartsWith("HTTP/1.1 503 ")));
  absl::SleepFor(absl::Milliseconds(100));  // several looks of the server
  slow.Send(request.substr(20));
  EXPECT_THAT(slow.Receive(), StartsWith("HTTP/1.1 503 "));
  EXPECT_TRUE(Soon([&] { return server.over(); }));
}

TEST(ServerEnds, WhileConnectionsSayNothing) {
  TestServer server;
  RawClient silent(server->port()), kept(server->port());
  kept.Send("GET /health HTTP/1.1\r\n\r\n");
  kept.Receive("}");
  server->Drain();
  EXPECT_TRUE(Soon([&] { return server.over(); }));
}

TEST(ServerEnds, AtOnce) {
  TestServer server;
  RawClient client(server->port());
  client.Send(RawPost(absl::StrCat("{", kLong, R"(, "stream": true)", "}")));
  client.Receive("\"text\"");
  server->Drain();
  server->End();
  const std::string rest = client.Receive();
  EXPECT_THAT(rest, HasSubstr("the engine shuts down"));
  EXPECT_THAT(rest, HasSubstr("data: [DONE]"));
  EXPECT_TRUE(Soon([&] { return server.over(); }));
}

// A request line, headers and a body, some bytes of which are replaced, dropped or doubled.
std::string Spoilt(const std::string& good, const Philox& random, uint64_t* at) {
  std::string bytes = good;
  const auto below = [&](size_t end) {
    return static_cast<size_t>(random.Uniform((*at)++) * static_cast<double>(end));
  };
  for (size_t changes = 1 + below(4); changes > 0 && !bytes.empty(); --changes) {
    const size_t place = below(bytes.size());
    switch (below(4)) {
      case 0:
        bytes[place] = static_cast<char>(below(256));
        break;
      case 1:
        bytes.erase(place, 1 + below(20));
        break;
      case 2:
        bytes.insert(place, bytes.substr(below(bytes.size()), below(30)));
        break;
      default:
        bytes.resize(place);
    }
  }
  return bytes;
}

TEST(ServerSurvives, SpoiltBodies) {
  TestServer server;
  const std::string good =
      R"({"model":"tiny","prompt":[[1,2],[3]],"max_tokens":2,"stop":["a"],"logit_bias":{"1":2.5},"temperature":0.5,)"
      R"("mode":"rec","seed":7,"n":2,"logprobs":3,"stop_token_ids":[4],"min_p":0.1})";
  ASSERT_EQ(server.Post(good).status, 200);
  const Philox random(11, 1);
  uint64_t at = 0;
  int refused = 0;
  httplib::Client client = server.Client();
  client.set_keep_alive(true);
  client.set_tcp_nodelay(true);
  for (int i = 0; i < 1500; ++i) {
    const std::string body = Spoilt(good, random, &at);
    const auto parsed = ParseCompletionRequest(body);
    const auto* request = std::get_if<CompletionRequest>(&parsed);
    if (request != nullptr && request->options.max_new_tokens > 100) continue;
    const auto response = client.Post("/v1/completions", body, "application/json");
    ASSERT_TRUE(response) << body;
    if (response->status == 200 && request != nullptr) continue;
    ++refused;
    EXPECT_THAT(response->status, AnyOf(400, 404)) << body;
    EXPECT_TRUE(ErrorOf(*response).contains("message")) << response->body;
  }
  EXPECT_GT(refused, 1000);
}

TEST(ServerSurvives, SpoiltRequests) {
  TestServer server;
  const std::string good = RawPost(R"({"prompt":"the","max_tokens":2})");
  const Philox random(12, 1);
  uint64_t at = 0;
  for (int i = 0; i < 500; ++i) {
    const std::string bytes = Spoilt(good, random, &at);
    RawClient client(server->port());
    client.Send(bytes);
    client.EndInput();
    const std::string answer = client.Receive();
    // Nothing at all where not even a line came.
    if (answer.empty()) continue;
    EXPECT_THAT(answer, AnyOf(StartsWith("HTTP/1.1 4"), StartsWith("HTTP/1.1 200 "))) << bytes;
  }
  EXPECT_EQ(server.Complete(R"("prompt": "the", "max_tokens": 2)").status, 200);
}

}  // namespace
}  // namespace photon::testing
