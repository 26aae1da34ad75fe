#include "inference/server/head_lines.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/strip.h"

namespace photon {
namespace {

bool IsToken(absl::string_view text) {
  constexpr absl::string_view kMarks = "!#$%&'*+-.^_`|~";
  return !text.empty() && std::all_of(text.begin(), text.end(), [&](char c) {
    return absl::ascii_isalnum(static_cast<unsigned char>(c)) || kMarks.find(c) != kMarks.npos;
  });
}

bool HasControls(absl::string_view text) {
  return std::any_of(text.begin(), text.end(),
                     [](char c) { return c != '\t' && absl::ascii_iscntrl(static_cast<unsigned char>(c)); });
}

// Neither white space before the colon nor a line that goes on with the one before: names have no spaces.
bool IsHeader(absl::string_view line) {
  const size_t colon = line.find(':');
  if (colon == line.npos || !IsToken(line.substr(0, colon))) return false;
  const absl::string_view name = line.substr(0, colon);
  if (!absl::EqualsIgnoreCase(name, "Content-Length") && !absl::EqualsIgnoreCase(name, "Transfer-Encoding")) {
    return true;
  }
  // httplib drops headers without a value, and decodes %35 to 5, both as nobody else does.
  const absl::string_view value = absl::StripAsciiWhitespace(line.substr(colon + 1));
  return !value.empty() && !absl::StrContains(value, '%');
}

}  // namespace

void HeadLines::Take(absl::string_view bytes) {
  for (const char byte : bytes) {
    line_.push_back(byte);
    if (byte != '\n') continue;
    absl::string_view line = line_;
    const bool ended = absl::ConsumeSuffix(&line, "\r\n");
    // Of the request line's parts httplib takes no others than it should.
    const bool known = request_line_ || line.empty() || IsHeader(line);
    sound_ = sound_ && ended && known && !HasControls(line);
    request_line_ = false;
    line_.clear();
  }
}

}  // namespace photon
