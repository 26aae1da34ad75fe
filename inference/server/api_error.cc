#include "inference/server/api_error.h"

#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "inference/option_error.h"
#include "inference/server/json_fields.h"

namespace photon {
namespace {

constexpr char kModelFailure[] = "model_failure";

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

// What the API calls an option of `photon generate`; empty for those of the server, which requests don't have.
absl::string_view FieldOf(absl::string_view option, const FieldNames& names) {
  const std::pair<const char*, const char*> fields[] = {{"allowed-token", "allowed_token_ids"},
                                                        {"bad-word", "bad_words"},
                                                        {"frequency-penalty", "frequency_penalty"},
                                                        {"logit-bias", "logit_bias"},
                                                        {"logprobs", names.logprobs},
                                                        {"max-new-tokens", names.max_tokens},
                                                        {"min-new-tokens", "min_tokens"},
                                                        {"min-p", "min_p"},
                                                        {"mode", "mode"},
                                                        {"n", "n"},
                                                        {"presence-penalty", "presence_penalty"},
                                                        {"prompt", names.prompt},
                                                        {"repetition-penalty", "repetition_penalty"},
                                                        {"stop", "stop"},
                                                        {"stop-token", "stop_token_ids"},
                                                        {"temperature", "temperature"},
                                                        {"top-k", "top_k"},
                                                        {"top-p", "top_p"},
                                                        {"typical-p", "typical_p"}};
  for (const auto& [name, field] : fields) {
    if (option == name) return field;
  }
  return "";
}

// "--top-k" becomes "top_k"; "--max-running" stays.
std::string WithFieldNames(absl::string_view message, const FieldNames& names) {
  std::string renamed;
  for (size_t at = 0; at < message.size();) {
    size_t end = at + 1;
    if (absl::StartsWith(message.substr(at), "--")) {
      end = at + 2;
      while (end < message.size() && (absl::ascii_islower(message[end]) || message[end] == '-')) ++end;
      const absl::string_view field = FieldOf(message.substr(at + 2, end - at - 2), names);
      absl::StrAppend(&renamed, field.empty() ? message.substr(at, end - at) : field);
    } else {
      renamed.push_back(message[at]);
    }
    at = end;
  }
  return renamed;
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
  // OpenAI's clients send what got 408 or a 5xx again, twice: it would take as long again, or fail as surely.
  if (error.status == 408 || error.code == kModelFailure) response.headers.emplace_back("x-should-retry", "false");
  if (error.status == 401) response.headers.emplace_back("WWW-Authenticate", "Bearer");
  return response;
}

ApiError ErrorOf(const absl::Status& status, const FieldNames& names) {
  const std::string message = WithFieldNames(status.message(), names);
  const std::string field(FieldOf(OptionAtFault(status), names));
  switch (status.code()) {
    case absl::StatusCode::kInvalidArgument:
      return {400, message, field};
    case absl::StatusCode::kOutOfRange:
      return {400, message, field, "context_length_exceeded"};
    case absl::StatusCode::kResourceExhausted:
      return {429, message, "", "queue_full"};
    case absl::StatusCode::kDeadlineExceeded:
      return {408, message, "", "request_timeout"};
    case absl::StatusCode::kUnavailable:
      return {503, message, "", "shutting_down"};
    case absl::StatusCode::kDataLoss:
      return {500, message, "", kModelFailure};
    default:
      return {500, message, "", "internal_error"};
  }
}

}  // namespace photon
