#include "inference/server/routes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/temporary_folder.h"

namespace photon::testing {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::Pair;

HttpHead Posted(uint64_t length = 10) {
  HttpHead head{.method = "POST", .path = "/v1/completions", .content_type = "application/json"};
  head.content_length = length;
  return head;
}

int StatusOf(const HttpHead& head, const RequestLimits& limits = {.max_body_bytes = 100}, const ApiKeys& keys = {}) {
  const std::optional<HttpResponse> refusal = RefuseByHead(head, keys, limits);
  return refusal.has_value() ? refusal->status : 200;
}

TEST(Routes, Refusals) {
  EXPECT_EQ(StatusOf(Posted()), 200);
  EXPECT_EQ(StatusOf(Posted(101)), 413);
  EXPECT_EQ(StatusOf({.method = "GET", .path = "/v1/nothing"}), 404);
  EXPECT_EQ(StatusOf({.method = "GET", .path = "/"}), 200);
  EXPECT_EQ(StatusOf({.method = "HEAD", .path = "/health"}), 200);
  EXPECT_EQ(StatusOf({.method = "POST", .path = "/health"}), 405);
  EXPECT_EQ(StatusOf({.method = "GET", .path = "/v1/models/x/y"}), 200);
  for (const char* method : {"GET", "PUT", "DELETE", "OPTIONS", "HEAD"}) {
    HttpHead head = Posted();
    head.method = method;
    EXPECT_EQ(StatusOf(head), 405);
    EXPECT_THAT(RefuseByHead(head, {}, {})->headers, Contains(Pair("Allow", "POST")));
  }
}

TEST(Routes, Bodies) {
  HttpHead head = Posted();
  for (const char* type : {"application/json; charset=utf-8", "APPLICATION/JSON"}) {
    head.content_type = type;
    EXPECT_EQ(StatusOf(head), 200) << type;
  }
  for (const char* type : {"", "text/plain", "application/x-www-form-urlencoded", "application/jsonx"}) {
    head.content_type = type;
    EXPECT_EQ(StatusOf(head), 415) << type;
  }
  head = Posted();
  head.content_length.reset();
  EXPECT_EQ(StatusOf(head), 411);
  head.transfer_encoding = "Chunked";
  EXPECT_EQ(StatusOf(head), 200);
  head.transfer_encoding = "gzip, chunked";
  EXPECT_EQ(StatusOf(head), 400);
  head = Posted();
  for (const char* encoding : {"gzip", "Identity", "br"}) {
    head.content_encoding = encoding;
    EXPECT_EQ(StatusOf(head), 200) << encoding;
  }
  head.content_encoding = "zstd";
  EXPECT_EQ(StatusOf(head), 415);
  head = Posted();
  head.ambiguous_length = true;
  EXPECT_EQ(StatusOf(head), 400);
}

TEST(Routes, ShuttingDownAndCrowded) {
  EXPECT_EQ(StatusOf(Posted(), {.max_body_bytes = 100, .draining = true}), 503);
  EXPECT_EQ(StatusOf({.method = "GET", .path = "/metrics"}, {.draining = true}), 200);
  EXPECT_EQ(StatusOf(Posted(), {.max_body_bytes = 100, .crowded = true}), 503);
  EXPECT_EQ(StatusOf({.method = "GET", .path = "/health"}, {.crowded = true}), 200);
}

TEST(ApiKeys, LetTheirHoldersIn) {
  const TemporaryFolder folder;
  const auto keys = ApiKeys::FromFile(folder.Write("keys", "# ours\n\nalpha+/=\r\n  beta \n"));
  ASSERT_TRUE(keys.ok()) << keys.status();
  for (const char* good : {"Bearer alpha+/=", "bearer beta", "Bearer  beta "}) EXPECT_TRUE(keys->Allow(good)) << good;
  for (const char* bad : {"", "alpha+/=", "Basic beta", "Bearer ", "Bearer bet", "Bearer betaa", "Bearer betabeta",
                          "Bearer # ours", "Bearer alpha+/=beta"}) {
    EXPECT_FALSE(keys->Allow(bad)) << bad;
  }
  EXPECT_TRUE(ApiKeys().Allow(""));
  HttpHead head = Posted();
  EXPECT_EQ(StatusOf(head, {.max_body_bytes = 100}, *keys), 401);
  head.authorization = "Bearer beta";
  EXPECT_EQ(StatusOf(head, {.max_body_bytes = 100}, *keys), 200);
  for (const char* open : {"/", "/health", "/ready"}) EXPECT_EQ(StatusOf({"GET", open}, {}, *keys), 200) << open;
  for (const char* closed : {"/metrics", "/v1/models"}) EXPECT_EQ(StatusOf({"GET", closed}, {}, *keys), 401) << closed;
}

TEST(ApiKeys, RefuseFilesOfNoUse) {
  const TemporaryFolder folder;
  EXPECT_THAT(std::string(ApiKeys::FromFile(folder.Write("none", "\n# x\n")).status().message()), HasSubstr("no key"));
  EXPECT_THAT(std::string(ApiKeys::FromFile(folder.Write("space", "good\nt w o\n")).status().message()),
              HasSubstr("line 2"));
  EXPECT_FALSE(ApiKeys::FromFile(folder / "missing").ok());
}

}  // namespace
}  // namespace photon::testing
