#include "inference/server/api_error.h"

#include <utility>

#include "absl/strings/str_replace.h"
#include "inference/server/json_fields.h"

namespace photon {
namespace {

const char* TypeOf(int status) {
  switch (status) {
    case 401:
      return "authentication_error";
    case 408:
      return "timeout_error";
    case 429:
      return "rate_limit_error";
    default:
      return status >= 500 ? "server_error" : "invalid_request_error";
  }
}

Json OrNull(const std::string& text) { return text.empty() ? Json() : Json(text); }

// Of an option that the message begins with.
std::string FieldOf(absl::string_view message) {
  constexpr const char* kFields[] = {"temperature",
                                     "top_k",
                                     "top_p",
                                     "min_p",
                                     "typical_p",
                                     "max_tokens",
                                     "min_tokens",
                                     "stop",
                                     "logprobs",
                                     "n",
                                     "repetition_penalty",
                                     "logit_bias",
                                     "stop_token_ids",
                                     "mode",
                                     "prompt",
                                     "presence_penalty",
                                     "frequency_penalty"};
  const absl::string_view first = message.substr(0, message.find_first_of(" :"));
  for (const char* field : kFields) {
    if (first == field) return field;
  }
  return "";
}

std::string WithFieldNames(absl::string_view message) {
  return absl::StrReplaceAll(message, {{"max-new-tokens", "max_tokens"},
                                       {"min-new-tokens", "min_tokens"},
                                       {"top-k", "top_k"},
                                       {"top-p", "top_p"},
                                       {"min-p", "min_p"},
                                       {"typical-p", "typical_p"},
                                       {"repetition-penalty", "repetition_penalty"},
                                       {"presence-penalty", "presence_penalty"},
                                       {"frequency-penalty", "frequency_penalty"},
                                       {"logit-bias", "logit_bias"},
                                       {"stop-token", "stop_token_ids"}});
}

}  // namespace

std::string ErrorJson(const ApiError& error) {
  Json json;
  json["error"] = {{"message", error.message},
                   {"type", TypeOf(error.status)},
                   {"param", OrNull(error.param)},
                   {"code", OrNull(error.code)}};
  return Dump(json);
}

HttpResponse ErrorResponse(const ApiError& error) {
  HttpResponse response{.status = error.status, .body = ErrorJson(error)};
  if (error.status == 429 || error.status == 503) response.headers.emplace_back("Retry-After", "1");
  if (error.status == 401) response.headers.emplace_back("WWW-Authenticate", "Bearer");
  return response;
}

ApiError ErrorOf(const absl::Status& status) {
  const std::string message = WithFieldNames(status.message());
  switch (status.code()) {
    case absl::StatusCode::kInvalidArgument:
      return {400, message, FieldOf(message)};
    case absl::StatusCode::kResourceExhausted:
      return {429, message, "", "queue_full"};
    case absl::StatusCode::kDeadlineExceeded:
      return {408, message, "", "request_timeout"};
    case absl::StatusCode::kUnavailable:
      return {503, message, "", "shutting_down"};
    case absl::StatusCode::kDataLoss:
      return {500, message, "", "model_failure"};
    default:
      return {500, message, "", "internal_error"};
  }
}

}  // namespace photon
