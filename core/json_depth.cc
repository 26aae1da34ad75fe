#include "core/json_depth.h"

namespace photon {
namespace {

// Whether `stop` says so of any character outside of strings.
template <typename F>
bool AnyOutsideStrings(absl::string_view json, F&& stop) {
  bool in_string = false;
  for (size_t i = 0; i < json.size(); ++i) {
    const char c = json[i];
    if (in_string) {
      if (c == '\\') ++i;
      if (c == '"') in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (stop(c)) {
      return true;
    }
  }
  return false;
}

}  // namespace

bool JsonTooDeep(absl::string_view json) {
  int depth = 0;
  return AnyOutsideStrings(json, [&](char c) {
    if (c == '[' || c == '{') ++depth;
    if (c == ']' || c == '}') --depth;
    return depth > kMostJsonDepth;
  });
}

bool JsonTooWide(absl::string_view json) {
  int fields = 0;
  return AnyOutsideStrings(json, [&](char c) { return c == ':' && ++fields > kMostJsonFields; });
}

}  // namespace photon
