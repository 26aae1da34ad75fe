// What the server refuses.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/match.h"
#include "tests/inference/test_server.h"

namespace photon::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;
using Json = nlohmann::json;

std::string Repeated(const std::string& text, int times) {
  std::string all;
  for (int i = 0; i < times; ++i) all += text;
  return all;
}

TEST(ServerRefusals, NameTheField) {
  TestServer server({.engine = {.max_running = 4, .max_context = 100}, .server = {.limits = {.prompt_tokens = 50}}});
  const struct {
    const char* fields;
    int status;
    const char* param;
    const char* message;
  } cases[] = {
      {R"("prompt": "the", "max_tokens": 0)", 400, "max_tokens", "from 1"},
      {R"("prompt": "the", "max_tokens": 100)", 400, "max_tokens", "the context is 100 tokens (--max-context), the"},
      {R"("prompt": [1, 100000])", 400, "prompt", "100000"},
      {R"("prompt": "the", "mode": "fast")", 400, "mode", "hier-parallel"},
      {R"("prompt": "the", "model": "gpt")", 404, "model", "this server has tiny"},
      {R"("prompt": "the", "stop_token_ids": [100000])", 400, "stop_token_ids", "100000"},
      {R"("prompt": "the", "logit_bias": {"100000": 1})", 400, "logit_bias", "100000"},
      {R"("prompt": "the", "n": 5)", 400, "n", "5"},
      {R"("prompt": "the", "best_of": 5)", 400, "best_of", "--max-running is 4"},
      {R"("prompt": "the", "min_tokens": 9, "max_tokens": 3)", 400, "min_tokens", "more than max_tokens, 3"},
  };
  for (const auto& test : cases) {
    const httplib::Response response = server.Complete(test.fields);
    EXPECT_EQ(response.status, test.status) << test.fields;
    EXPECT_EQ(ErrorOf(response)["param"], test.param) << test.fields << response.body;
    EXPECT_THAT(ErrorOf(response).value("message", ""), HasSubstr(test.message)) << test.fields;
  }
  const httplib::Response long_prompt = server.Post(Json{{"prompt", std::vector<int>(51, 1)}}.dump());
  EXPECT_EQ(ErrorOf(long_prompt)["code"], "context_length_exceeded") << long_prompt.body;
  const auto chat = server.Client().Post("/v1/chat/completions", R"({"messages": []})", "application/json");
  EXPECT_EQ(chat->status, 400);
  EXPECT_EQ(ErrorOf(*chat)["code"], "no_chat_template");
  EXPECT_EQ(server.Client().Post("/v1/completions", "{}", "text/plain")->status, 415);
  EXPECT_EQ(server.Client().Get("/v1/completions")->status, 405);
  EXPECT_EQ(server.Client().Get("/v1/nothing")->status, 404);
  EXPECT_EQ(server.Complete(R"("prompt": "the")").status, 200);
}

// Where no context is set, memory is the limit.
TEST(ServerRefusals, NameTheFieldThatTakesTooMuchMemory) {
  TestServer server({.tokenizer = false, .engine = {.state_bytes = 100'000}});
  const auto refusal = [&](int prompt, int max_tokens, int n) {
    const httplib::Response response =
        server.Post(Json{{"prompt", std::vector<int>(prompt, 1)}, {"max_tokens", max_tokens}, {"n", n}}.dump());
    EXPECT_EQ(response.status, 400) << response.body;
    EXPECT_THAT(ErrorOf(response).value("message", ""), HasSubstr("--state-memory is 100.0 kB"));
    return ErrorOf(response);
  };
  EXPECT_EQ(refusal(5000, 1, 1)["param"], "prompt");
  EXPECT_EQ(refusal(5000, 1, 1)["code"], "context_length_exceeded");
  EXPECT_EQ(refusal(1, 5000, 1)["param"], "max_tokens");
  EXPECT_EQ(refusal(1, 100, 60)["param"], "n");
}

TEST(ServerRefusals, APromptThatIsEmpty) {
  TestServer server({.tokenizer = false, .flat = true});
  const httplib::Response response = server.Complete(R"("prompt": [[]])");
  EXPECT_EQ(response.status, 400);
  EXPECT_EQ(ErrorOf(response)["param"], "prompt") << response.body;
}

TEST(ServerRefusals, LargeBodiesAreNotRead) {
  TestServer server({.server = {.http = {.max_body_bytes = 10000}}});
  RawClient declared(server->port());
  declared.Send("POST /v1/completions HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 100000000\r\n\r\n");
  EXPECT_THAT(declared.Receive("}}"), StartsWith("HTTP/1.1 413 "));  // no byte of it was sent
  RawClient asking(server->port());
  asking.Send(
      "POST /v1/completions HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 100000000\r\n"
      "Expect: 100-continue\r\n\r\n");
  EXPECT_THAT(asking.Receive("}}"), StartsWith("HTTP/1.1 413 "));
  RawClient endless(server->port());
  endless.Send("POST /v1/completions HTTP/1.1\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n");
  const std::string chunk = "1000\r\n" + std::string(0x1000, ' ') + "\r\n";
  for (int i = 0; i < 10 && endless.Send(chunk); ++i) {
  }
  const std::string refused = endless.Receive("}}");
  EXPECT_THAT(refused, StartsWith("HTTP/1.1 413 "));
  EXPECT_THAT(refused, HasSubstr("Connection: close\r\n"));  // a client must not send its next request here
  EXPECT_THAT(refused, Not(HasSubstr("Keep-Alive")));
  // A library's client, which sends all of it first.
  const httplib::Response sent = server.Post(Json{{"prompt", std::string(1 << 20, 'x')}}.dump());
  EXPECT_EQ(sent.status, 413);
  RawClient early(server->port());
  early.Send("POST /v1/completions HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{");
  early.EndInput();
  EXPECT_THAT(early.Receive(), StartsWith("HTTP/1.1 400 "));
  std::string crumbs =
      "POST /v1/completions HTTP/1.1\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
  crumbs += Repeated("1\r\n \r\n", 20'000);
  RawClient crumbled(server->port());
  crumbled.Send(crumbs);
  EXPECT_THAT(crumbled.Receive("}}"), StartsWith("HTTP/1.1 413 "));
  for (const std::string& headers :
       {"X: " + std::string(100'000, 'x') + "\r\n", Repeated("X: " + std::string(1000, 'x') + "\r\n", 70)}) {
    RawClient head(server->port());
    head.Send(absl::StrCat("GET /health HTTP/1.1\r\n", headers, "\r\n"));
    EXPECT_THAT(head.Receive(), StartsWith("HTTP/1.1 431 "));
  }
  for (const size_t size : {10'000, 100'000, 1'000'000}) {
    RawClient line(server->port());
    line.Send(absl::StrCat("GET /", std::string(size, 'x'), " HTTP/1.1\r\n\r\n"));
    const std::string answer = line.Receive();
    EXPECT_THAT(answer, StartsWith(size < 65536 ? "HTTP/1.1 414 " : "HTTP/1.1 431 ")) << size;
    EXPECT_THAT(answer, HasSubstr("\"bad_request\"")) << size;
  }
  EXPECT_EQ(server.Client().Get("/health")->status, 200);
}

// Else what a proxy takes for a body would be a request that it never saw.
TEST(ServerRefusals, BodiesAreNoRequests) {
  TestServer server;
  const std::string hidden = "GET /v1/models HTTP/1.1\r\n\r\n";
  const std::string length = absl::StrCat("Content-Length: ", hidden.size(), "\r\n");
  const auto answer_to = [&](const std::string& request) {
    RawClient client(server->port());
    client.Send(absl::StrCat(request, hidden));
    return client.Receive();  // until the server closes, before the client does
  };
  const auto answer = [&](const std::string& method, const std::string& headers) {
    return answer_to(absl::StrCat(method, " /health HTTP/1.1\r\n", headers, "\r\n"));
  };
  for (const char* method : {"GET", "HEAD"}) {
    const std::string one = answer(method, length);
    EXPECT_THAT(one, StartsWith("HTTP/1.1 200 "));
    EXPECT_THAT(one, HasSubstr("Connection: close\r\n"));
    EXPECT_THAT(one, Not(HasSubstr("tiny"))) << method;
  }
  for (const std::string& headers : {length + "Transfer-Encoding: chunked\r\n", "Content-Length: 0\r\n" + length,
                                     std::string("Content-Length: +28\r\n"), std::string("Content-Length: 0x1c\r\n")}) {
    const std::string one = answer("GET", headers);
    EXPECT_THAT(one, StartsWith("HTTP/1.1 400 ")) << headers;
    EXPECT_THAT(one, Not(HasSubstr("tiny"))) << headers;
  }
  // Lines that are no headers, which one reader skips and another understands.
  for (const std::string& headers :
       {absl::StrCat("Content-Length : ", hidden.size(), "\r\n"),
        absl::StrCat("Content-Length\t: ", hidden.size(), "\r\n"),
        absl::StrCat("Content-Length: ", hidden.size(), "\n"), absl::StrCat("X: y\n", length),
        absl::StrCat("X: y\r", length), absl::StrCat("X: y\r\n ", length), absl::StrCat(" ", length),
        std::string("Content-Length\r\n"), std::string("Content-Length:\r\n"), std::string("Content-Length: 2%38\r\n"),
        std::string("Transfer-Encoding: chunke%64\r\n"), std::string(": y\r\n"), std::string("X: \0y\r\n", 7)}) {
    const std::string one = answer("GET", headers);
    EXPECT_THAT(one, StartsWith("HTTP/1.1 400 ")) << headers;
    EXPECT_THAT(one, HasSubstr("Connection: close\r\n")) << headers;
    EXPECT_THAT(one, Not(HasSubstr("Keep-Alive"))) << headers;
    EXPECT_THAT(one, Not(HasSubstr("tiny"))) << headers;
  }
  const std::string post = "POST /v1/completions HTTP/1.1\r\nContent-Type: application/json\r\n";
  const std::string no_length = answer_to(post + "\r\n");
  EXPECT_THAT(no_length, StartsWith("HTTP/1.1 411 "));
  EXPECT_THAT(no_length, HasSubstr("Connection: close\r\n"));
  EXPECT_THAT(no_length, Not(HasSubstr("tiny")));
  // Chunks that end elsewhere for others: sizes with signs, and data longer than they say.
  for (const char* chunks :
       {"2\r\n{}XX0\r\n\r\n", "+2\r\n{}\r\n0\r\n\r\n", "0x2\r\n{}\r\n0\r\n\r\n", "-1\r\n", "2\r\n{}\r\n0\r\n\r\n"}) {
    const std::string one = answer_to(absl::StrCat(post, "Transfer-Encoding: chunked\r\n\r\n", chunks));
    EXPECT_THAT(one, StartsWith("HTTP/1.1 4")) << chunks;
    EXPECT_THAT(one, HasSubstr("Connection: close\r\n")) << chunks;
    EXPECT_THAT(one, Not(HasSubstr("tiny"))) << chunks;
  }
}

// As clients ask who take the server for their proxy.
TEST(ServerRefusals, TargetsMayNameTheServer) {
  TestServer server;
  for (const auto& [target, status] :
       {std::pair("http://x:80/health?y=http://z/", "200 "), std::pair("HTTP://x/ready", "200 "),
        std::pair("http://x", "200 "), std::pair("http://x/y", "404 "), std::pair("/http://x/health", "404 ")}) {
    RawClient client(server->port());
    client.Send(absl::StrCat("GET ", target, " HTTP/1.1\r\nConnection: close\r\n\r\n"));
    EXPECT_THAT(client.Receive(), StartsWith(absl::StrCat("HTTP/1.1 ", status))) << target;
  }
}

// Clients open another connection in time, and count on no other limit.
TEST(ServerRefusals, ConnectionsAreKeptAsTheirHeadersSay) {
  TestServer server;
  RawClient kept(server->port());
  for (int i = 0; i < 10; ++i) {
    kept.Send("GET /health HTTP/1.1\r\n\r\n");
    EXPECT_THAT(kept.Receive("}"), HasSubstr("Keep-Alive: timeout=5\r\n"));
  }
  for (const char* request : {"GET /health HTTP/1.1\r\nConnection: close\r\n\r\n", "GET /health HTTP/1.0\r\n\r\n"}) {
    RawClient closed(server->port());
    closed.Send(request);
    EXPECT_THAT(closed.Receive(), AllOf(HasSubstr("Connection: close\r\n"), Not(HasSubstr("Keep-Alive")))) << request;
  }
}

TEST(ServerRefusals, ChunksAreRead) {
  TestServer server;
  const std::string body = R"({"prompt": "the", "max_tokens": 1})";
  RawClient client(server->port());
  client.Send(absl::StrCat(
      "POST /v1/completions HTTP/1.1\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n",
      absl::Hex(body.size()), "\r\n", body, "\r\n0\r\n\r\n"));
  EXPECT_THAT(client.Receive(), StartsWith("HTTP/1.1 200 "));
}

TEST(ServerRefusals, Keys) {
  const TemporaryFolder folder;
  TestServer server({.server = {.keys = *ApiKeys::FromFile(folder.Write("keys", "secret\n"))}});
  const httplib::Response refused = server.Complete(R"("prompt": "the")");
  EXPECT_EQ(refused.status, 401);
  EXPECT_EQ(ErrorOf(refused)["code"], "invalid_api_key");
  EXPECT_EQ(server.Complete(R"("prompt": "the")", {{"Authorization", "Bearer secrets"}}).status, 401);
  EXPECT_EQ(server.Complete(R"("prompt": "the")", {{"Authorization", "Bearer secret"}}).status, 200);
  EXPECT_EQ(server.Client().Get("/metrics")->status, 401);
  EXPECT_EQ(server.Client().Get("/health")->status, 200);
}

TEST(ServerRefusals, TheQueueIsFull) {
  TestServer server({.engine = {.max_running = 1, .max_waiting = 2}});
  const auto start = [&] {
    auto client = std::make_unique<RawClient>(server->port());
    client->Send(RawPost(absl::StrCat("{", kLong, "}")));
    return client;
  };
  const auto running = start();
  ASSERT_TRUE(Soon([&] { return server.engine().stats().running == 1; }));
  const auto waiting = start();
  ASSERT_TRUE(Soon([&] { return server.engine().stats().waiting == 1; }));
  // Of several prompts none stays behind.
  EXPECT_EQ(server.Complete(R"("prompt": ["the", "end"])").status, 429);
  EXPECT_TRUE(Soon([&] { return server.engine().stats().waiting == 1; }));
  const auto last = start();
  ASSERT_TRUE(Soon([&] { return server.engine().stats().waiting == 2; }));
  const httplib::Response third = server.Complete(R"("prompt": "the")");
  EXPECT_EQ(third.status, 429);
  EXPECT_EQ(third.get_header_value("Retry-After"), "1");
  EXPECT_FALSE(third.has_header("x-should-retry"));  // it should
  EXPECT_EQ(ErrorOf(third)["code"], "queue_full");
  // More than could ever wait: no use in trying again.
  const httplib::Response many = server.Complete(R"("prompt": ["the", "end", "of"])");
  EXPECT_EQ(many.status, 400);
  EXPECT_EQ(ErrorOf(many)["param"], "prompt");
}

TEST(ServerRefusals, TooManyConnections) {
  TestServer server({.server = {.http = {.max_connections = 2}}});
  RawClient first(server->port()), second(server->port());
  for (RawClient* client : {&first, &second}) {
    client->Send("GET /health HTTP/1.1\r\n\r\n");
    client->Receive("}");
  }
  const httplib::Response third = server.Complete(R"("prompt": "the")");
  EXPECT_EQ(third.status, 503);
  EXPECT_EQ(ErrorOf(third)["code"], "too_many_connections");
  EXPECT_EQ(server.Client().Get("/health")->status, 200);
  // Nobody goes without an answer: neither those that the crowd leaves no place at all ..
  std::vector<std::unique_ptr<RawClient>> crowd;
  for (int i = 0; i < 300; ++i) {
    crowd.push_back(std::make_unique<RawClient>(server->port()));
    if (i >= 4) crowd.back()->Send(RawPost("{}"));
  }
  for (size_t i = 4; i < crowd.size(); ++i) {
    const std::string answer = crowd[i]->Receive();
    EXPECT_THAT(answer, StartsWith("HTTP/1.1 503 Service Unavailable\r\n")) << i;
    EXPECT_THAT(answer, HasSubstr("Retry-After: 1\r\n")) << i;
    EXPECT_THAT(answer, HasSubstr("Connection: close\r\n")) << i;
    EXPECT_THAT(answer, HasSubstr("\"too_many_connections\"")) << i;
  }
  // .. nor those that come while it goes.
  first.EndInput();
  second.EndInput();
  crowd.clear();
  EXPECT_TRUE(Soon([&] { return server.Complete(R"("prompt": "the", "max_tokens": 1)").status == 200; }));
  const std::string metrics = server.Client().Get("/metrics")->body;
  const std::string before = "photon_requests_total{code=\"503\"} ";
  ASSERT_THAT(metrics, HasSubstr(before));
  EXPECT_GE(std::atoi(metrics.c_str() + metrics.find(before) + before.size()), 297);
}

TEST(ServerRefusals, RequestsThatTakeTooLong) {
  TestServer server({.server = {.limits = {.time = absl::Milliseconds(200)}}});
  const httplib::Response whole = server.Complete(kLong);
  EXPECT_EQ(whole.status, 408);
  EXPECT_EQ(ErrorOf(whole)["code"], "request_timeout");
  EXPECT_EQ(whole.get_header_value("x-should-retry"), "false");
  const httplib::Response stream = server.Complete(absl::StrCat(kLong, R"(, "stream": true)"));
  EXPECT_EQ(stream.status, 200);
  EXPECT_EQ(EventsOf(stream.body).back()["error"]["code"], "request_timeout");
  const auto counted = [&] {
    return absl::StrContains(server.Client().Get("/metrics")->body, "photon_requests_total{code=\"408\"} 2\n");
  };
  EXPECT_TRUE(Soon(counted)) << "the stream's end counts, not its head";
  EXPECT_EQ(server.Complete(R"("prompt": "the", "max_tokens": 1)").status, 200);
}

TEST(ServerRefusals, LogitsThatAreNoNumbers) {
  TestServer server({.broken = true});
  for (const char* more : {"", R"(, "stream": true)"}) {
    const httplib::Response response = server.Complete(absl::StrCat(R"("prompt": "the")", more));
    EXPECT_EQ(response.status, 500) << response.body;
    EXPECT_EQ(ErrorOf(response)["code"], "model_failure");
    EXPECT_EQ(response.get_header_value("x-should-retry"), "false");
  }
  EXPECT_EQ(server.Client().Get("/ready")->status, 200);
}

}  // namespace
}  // namespace photon::testing
