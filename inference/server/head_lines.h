// The lines of a request's head, looked at while httplib reads them. It skips what it doesn't understand, and what it
// skips may be how long the body is for a proxy before this server: the body would be the next request (RFC 9112,
// 11.2). So a head of which a line is not as RFC 9112 has it is refused whole.
#pragma once

#include <string>

#include "absl/strings/string_view.h"

namespace photon {

class HeadLines {
 public:
  void Take(absl::string_view bytes);
  // All lines so far are such as a head may have.
  bool sound() const { return sound_; }
  // Of the line under way.
  size_t line_bytes() const { return line_.size(); }

 private:
  std::string line_;  // as far as it has come
  bool request_line_ = true;
  bool sound_ = true;
};

}  // namespace photon
