// Which other sites' pages a browser lets use the server (CORS, https://fetch.spec.whatwg.org/#http-cors-protocol).
// Browsers send such a page's requests only after a preflight was answered, and show it no answer without these
// headers.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "inference/server/http.h"

namespace photon {

// kInvalidArgument: neither * nor what a browser sends as Origin, such as https://example.org:8443, with which it is
// compared letter by letter.
absl::Status ValidateOrigin(const std::string& origin);

class CrossOrigin {
 public:
  CrossOrigin() = default;  // none
  // Each valid; "*": all.
  explicit CrossOrigin(std::vector<std::string> allowed);

  // For every answer to a request from `origin`, which may be empty.
  HttpHeaders HeadersFor(const std::string& origin) const;
  // The answer to a preflight from an allowed origin, without HeadersFor; preflights carry no key.
  std::optional<HttpResponse> AnswerPreflight(const HttpHead& head) const;

 private:
  bool Allows(const std::string& origin) const;

  std::vector<std::string> allowed_;
  bool all_ = false;
};

}  // namespace photon
