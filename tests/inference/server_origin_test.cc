// Pages of other origins.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/inference/test_server.h"

namespace photon::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

constexpr char kOrigin[] = "https://example.org";

httplib::Headers From(const std::string& origin) { return {{"Origin", origin}}; }

// As a browser asks before it sends what the page wants sent.
httplib::Response Preflight(const TestServer& server, const std::string& origin,
                            const std::string& path = "/v1/completions") {
  httplib::Headers headers = From(origin);
  headers.emplace("Access-Control-Request-Method", "POST");
  headers.emplace("Access-Control-Request-Headers", "authorization,content-type,x-stainless-lang");
  return *server.Client().Options(path, headers);
}

TEST(ServerOrigins, NoneUnlessAllowed) {
  TestServer server;
  const httplib::Response preflight = Preflight(server, kOrigin);
  EXPECT_EQ(preflight.status, 405);
  const auto answer = server.Client().Get("/health", From(kOrigin));
  EXPECT_EQ(answer->status, 200);
  for (const httplib::Response& response : {preflight, *answer}) {
    EXPECT_FALSE(response.has_header("Access-Control-Allow-Origin"));
    EXPECT_FALSE(response.has_header("Vary"));
  }
}

TEST(ServerOrigins, ThoseAllowed) {
  const TemporaryFolder folder;
  TestServer server({.server = {.keys = *ApiKeys::FromFile(folder.Write("keys", "secret\n")),
                                .origins = CrossOrigin({"http://localhost:3000", kOrigin})}});
  const httplib::Response preflight = Preflight(server, kOrigin);  // without a key
  EXPECT_EQ(preflight.status, 204);
  EXPECT_EQ(preflight.get_header_value("Access-Control-Allow-Origin"), kOrigin);
  EXPECT_THAT(preflight.get_header_value("Access-Control-Allow-Methods"), HasSubstr("POST"));
  EXPECT_EQ(preflight.get_header_value("Access-Control-Allow-Headers"), "Authorization, Content-Type, *");
  EXPECT_EQ(preflight.get_header_value("Access-Control-Max-Age"), "3600");
  EXPECT_FALSE(preflight.has_header("Content-Length"));
  EXPECT_FALSE(preflight.has_header("Content-Type"));
  EXPECT_EQ(Preflight(server, kOrigin, "/v1/nothing").status, 404);
  httplib::Headers headers = From(kOrigin);
  const auto expect = [&](const httplib::Response& response, int status) {
    EXPECT_EQ(response.status, status);
    EXPECT_EQ(response.get_header_value("Access-Control-Allow-Origin"), kOrigin) << status;
    EXPECT_EQ(response.get_header_value("Vary"), "Origin") << status;
  };
  expect(server.Complete(R"("prompt": "the")", headers), 401);
  headers.emplace("Authorization", "Bearer secret");
  expect(server.Complete(R"("prompt": "the")", headers), 200);
  expect(server.Complete(R"("prompt": "the", "stream": true)", headers), 200);
  expect(server.Complete(R"("prompt": 1.5)", headers), 400);
  // Others get what they ask for where no browser is in between, and browsers keep it from their pages.
  for (const char* other : {"https://example.org.evil.com", "http://example.org", "null", "https://example.org:444"}) {
    EXPECT_EQ(Preflight(server, other).status, 405) << other;
    const auto answer = server.Client().Get("/health", From(other));
    EXPECT_FALSE(answer->has_header("Access-Control-Allow-Origin")) << other;
    EXPECT_EQ(answer->get_header_value("Vary"), "Origin") << other;
  }
}

TEST(ServerOrigins, All) {
  TestServer server({.server = {.origins = CrossOrigin({"*"})}});
  const httplib::Response preflight = Preflight(server, kOrigin);
  EXPECT_EQ(preflight.status, 204);
  EXPECT_EQ(preflight.get_header_value("Access-Control-Allow-Origin"), "*");
  EXPECT_FALSE(preflight.has_header("Vary"));
  // Also where there is no head to be read.
  for (const std::string& bytes : {std::string("GET /health\r\n\r\n"), std::string(100'000, 'x')}) {
    RawClient client(server->port());
    client.Send(bytes);
    EXPECT_THAT(client.Receive(), AllOf(StartsWith("HTTP/1.1 4"), HasSubstr("Access-Control-Allow-Origin: *\r\n")));
  }
  // The connection goes on.
  RawClient client(server->port());
  client.Send("OPTIONS /v1/completions HTTP/1.1\r\nOrigin: null\r\n\r\n");
  EXPECT_THAT(client.Receive("\r\n\r\n"), AllOf(StartsWith("HTTP/1.1 204 "), Not(HasSubstr("Connection: close"))));
  client.Send("GET /health HTTP/1.1\r\n\r\n");
  EXPECT_THAT(client.Receive("}"), StartsWith("HTTP/1.1 200 "));
}

TEST(ServerOrigins, AreWhatBrowsersSend) {
  for (const char* good :
       {"*", "null", "https://example.org", "http://localhost:3000", "http://[::1]:8080", "chrome-extension://abc"}) {
    EXPECT_TRUE(ValidateOrigin(good).ok()) << good;
  }
  for (const char* bad : {"", "example.org", "https://", "://x", "https://example.org/", "https://Example.org",
                          "https://a.org,https://b.org", "https://*.org", "https://a b", "https://u@a.org"}) {
    EXPECT_FALSE(ValidateOrigin(bad).ok()) << bad;
  }
}

}  // namespace
}  // namespace photon::testing
