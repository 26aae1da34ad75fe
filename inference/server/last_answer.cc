#include "inference/server/last_answer.h"

#include <utility>

#include "absl/strings/str_cat.h"

namespace photon {

std::string LastAnswer(int status, HttpHandler& handler) {
  HttpResponse answer = handler.Error(status, "");
  for (auto& header : handler.HeadersFor({})) answer.headers.push_back(std::move(header));
  const char* reason = answer.status == kHeadTooLarge ? "Request Header Fields Too Large" : "Service Unavailable";
  std::string bytes = absl::StrCat("HTTP/1.1 ", answer.status, " ", reason, "\r\n");
  for (const auto& [name, value] : answer.headers) absl::StrAppend(&bytes, name, ": ", value, "\r\n");
  absl::StrAppend(&bytes, "Content-Type: ", answer.content_type, "\r\nContent-Length: ", answer.body.size(),
                  "\r\nConnection: close\r\n\r\n", answer.body);
  return bytes;
}

}  // namespace photon
