#include "inference/server/cross_origin.h"

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace photon {

absl::Status ValidateOrigin(const std::string& origin) {
  if (origin == "*" || origin == "null") return absl::OkStatus();
  const size_t scheme = origin.find("://");
  const absl::string_view host = scheme == origin.npos ? "" : absl::string_view(origin).substr(scheme + 3);
  const bool letters = std::all_of(origin.begin(), origin.end(), [](char c) {
    return absl::ascii_isgraph(static_cast<unsigned char>(c)) && !absl::ascii_isupper(static_cast<unsigned char>(c));
  });
  if (scheme > 0 && !host.empty() && letters && host.find_first_of("/?#@,*") == host.npos) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      origin,
      " is no origin: give scheme, host and, unless it is the scheme's own, port, in small letters and with "
      "nothing behind, such as https://example.org or http://localhost:3000; or * for all"));
}

CrossOrigin::CrossOrigin(std::vector<std::string> allowed)
    : allowed_(std::move(allowed)), all_(std::find(allowed_.begin(), allowed_.end(), "*") != allowed_.end()) {}

bool CrossOrigin::Allows(const std::string& origin) const {
  return all_ || std::find(allowed_.begin(), allowed_.end(), origin) != allowed_.end();
}

HttpHeaders CrossOrigin::HeadersFor(const std::string& origin) const {
  HttpHeaders headers;
  if (allowed_.empty()) return headers;
  if (!all_) headers.emplace_back("Vary", "Origin");  // caches must not give one origin's answer to another
  if (!Allows(origin)) return headers;
  headers.emplace_back("Access-Control-Allow-Origin", all_ ? "*" : origin);
  headers.emplace_back("Access-Control-Expose-Headers", "*");  // Retry-After and the like, which clients look at
  return headers;
}

std::optional<HttpResponse> CrossOrigin::AnswerPreflight(const HttpHead& head) const {
  if (head.method != "OPTIONS" || head.origin.empty() || !Allows(head.origin)) return std::nullopt;
  HttpResponse response{.status = 204};
  response.headers = {{"Access-Control-Allow-Methods", "GET, HEAD, POST"},
                      // OpenAI's client sends many of its own; * stands for all but Authorization.
                      {"Access-Control-Allow-Headers", "Authorization, Content-Type, *"},
                      {"Access-Control-Max-Age", "3600"}};
  return response;
}

}  // namespace photon
