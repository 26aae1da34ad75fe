#include "inference/server/api_keys.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "core/file.h"
#include "core/status.h"

namespace photon {
namespace {

// '%': httplib decodes it in headers.
bool CanBeSent(char c) { return absl::ascii_isgraph(static_cast<unsigned char>(c)) && c != '%'; }

// Time depends on `given` alone.
bool Equal(absl::string_view key, absl::string_view given) {
  unsigned difference = key.size() != given.size();
  for (size_t i = 0; i < given.size(); ++i) {
    difference |= static_cast<unsigned char>(given[i]) ^ static_cast<unsigned char>(key[i % key.size()]);
  }
  return difference == 0;
}

}  // namespace

absl::StatusOr<ApiKeys> ApiKeys::FromFile(const std::string& path) {
  PHOTON_ASSIGN_OR_RETURN(const std::string text, ReadFile(path, "key file"));
  ApiKeys keys;
  int64_t number = 0;
  for (const absl::string_view line : absl::StrSplit(text, '\n')) {
    ++number;
    const absl::string_view key = absl::StripAsciiWhitespace(line);
    if (key.empty() || key.front() == '#') continue;
    if (!std::all_of(key.begin(), key.end(), CanBeSent)) {
      return absl::InvalidArgumentError(absl::StrCat("key file ", path, ", line ", number,
                                                     ": a key is of visible ASCII characters other than %; make one "
                                                     "with: openssl rand -hex 24"));
    }
    keys.keys_.emplace_back(key);
  }
  if (!keys.keys_.empty()) return keys;
  return absl::InvalidArgumentError(
      absl::StrCat("key file ", path, ": holds no key; give one a line, or leave --api-keys out to let everybody in"));
}

bool ApiKeys::Allow(absl::string_view authorization) const {
  if (keys_.empty()) return true;
  constexpr absl::string_view kScheme = "Bearer ";
  if (!absl::StartsWithIgnoreCase(authorization, kScheme)) return false;
  const absl::string_view given = absl::StripAsciiWhitespace(authorization.substr(kScheme.size()));
  bool allowed = false;
  for (const std::string& key : keys_) allowed |= Equal(key, given);
  return allowed;
}

}  // namespace photon
