#include "inference/server/routes.h"

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace photon {
namespace {

bool Posts(Route route) { return route == Route::kCompletions || route == Route::kChat; }

// The page asks for a key and sends it with what needs one.
bool IsOpen(Route route) { return route == Route::kPage || route == Route::kHealth || route == Route::kReady; }

bool IsJson(absl::string_view content_type) {
  const absl::string_view type = absl::StripAsciiWhitespace(content_type.substr(0, content_type.find(';')));
  return absl::EqualsIgnoreCase(type, "application/json");
}

bool IsKnownEncoding(absl::string_view encoding) {
  if (encoding.empty()) return true;
  for (const char* known : {"identity", "gzip", "br", "deflate"}) {
    if (absl::EqualsIgnoreCase(encoding, known)) return true;
  }
  return false;
}

HttpResponse WrongMethod(const HttpHead& head, Route route) {
  const std::string allowed = Posts(route) ? "POST" : "GET, HEAD";
  HttpResponse response = ErrorResponse(
      {405, absl::StrCat(head.path, " takes ", allowed, ", not ", head.method), "", "method_not_allowed"});
  response.headers.emplace_back("Allow", allowed);
  return response;
}

std::optional<ApiError> RefuseBody(const HttpHead& head, int64_t max_body_bytes) {
  if (!IsJson(head.content_type)) {
    return ApiError{415,
                    absl::StrCat("Content-Type is ", head.content_type.empty() ? "missing" : head.content_type,
                                 ": send JSON, with the header Content-Type: application/json"),
                    "", "unsupported_media_type"};
  }
  if (const std::string& encoding = head.content_encoding; !IsKnownEncoding(encoding)) {
    return ApiError{415,
                    absl::StrCat("Content-Encoding is ", encoding.substr(0, 100), ": send gzip, br, deflate, or none"),
                    "", "unsupported_media_type"};
  }
  if (!head.transfer_encoding.empty()) {
    if (absl::EqualsIgnoreCase(head.transfer_encoding, "chunked")) return std::nullopt;
    return ApiError{400, "Transfer-Encoding: only chunked is known here", "", "bad_request"};
  }
  if (!head.content_length.has_value()) {
    return ApiError{411, "the body's length is not known: send Content-Length, or Transfer-Encoding: chunked", "",
                    "length_required"};
  }
  if (*head.content_length > static_cast<uint64_t>(max_body_bytes)) return BodyTooLarge(max_body_bytes);
  return std::nullopt;
}

}  // namespace

std::optional<Route> FindRoute(absl::string_view path) {
  constexpr struct {
    const char* path;
    Route route;
  } kRoutes[] = {{"/", Route::kPage},
                 {"/health", Route::kHealth},
                 {"/ready", Route::kReady},
                 {"/metrics", Route::kMetrics},
                 {"/v1/models", Route::kModels},
                 {"/v1/completions", Route::kCompletions},
                 {"/v1/chat/completions", Route::kChat}};
  for (const auto& known : kRoutes) {
    if (path == known.path) return known.route;
  }
  if (absl::StartsWith(path, "/v1/models/")) return Route::kModel;
  return std::nullopt;
}

ApiError BodyTooLarge(int64_t max_body_bytes) {
  return {
      413,
      absl::StrCat("the body is larger than the ", max_body_bytes,
                   " bytes that this server takes: send less at a time, or start it with a larger --max-body-bytes"),
      "", "body_too_large"};
}

ApiError TooManyConnections() {
  return {503, "too many connections: try again, with fewer at a time", "", "too_many_connections"};
}

std::optional<HttpResponse> RefuseByHead(const HttpHead& head, const ApiKeys& keys, const RequestLimits& limits) {
  if (head.ambiguous_length) {
    return ErrorResponse({400,
                          "the body's length is not clear: send one Content-Length, a number, or one Transfer-Encoding",
                          "", "bad_request"});
  }
  const std::optional<Route> route = FindRoute(head.path);
  if (!route.has_value()) {
    return ErrorResponse({404,
                          absl::StrCat("there is no ", head.path.substr(0, 100),
                                       " here; docs/serving.md lists what there is, such as /v1/completions"),
                          "", "not_found"});
  }
  const bool reads = head.method == "GET" || head.method == "HEAD";
  if (Posts(*route) ? head.method != "POST" : !reads) return WrongMethod(head, *route);
  if (!IsOpen(*route) && !keys.Allow(head.authorization)) {
    return ErrorResponse({401,
                          head.authorization.empty() ? "this server wants a key: send Authorization: Bearer KEY"
                                                     : "the key in Authorization is not one of this server's",
                          "", "invalid_api_key"});
  }
  if (limits.crowded && !IsOpen(*route)) {
    return ErrorResponse(TooManyConnections());
  }
  if (!Posts(*route)) return std::nullopt;
  if (limits.draining) {
    return ErrorResponse({503, "the server is shutting down: try another, or later", "", "shutting_down"});
  }
  if (auto error = RefuseBody(head, limits.max_body_bytes); error.has_value()) return ErrorResponse(*error);
  return std::nullopt;
}

}  // namespace photon
