// How deep JSON may nest: the library copies and prints by recursion, and its stack ends; and a level, which is one byte
// to who sends it, takes some eighty bytes of memory.
#pragma once

#include "absl/strings/string_view.h"

namespace photon {

inline constexpr int kMostJsonDepth = 256;

// Whether objects and arrays of `json` nest deeper than that. Any bytes; looks at brackets outside of strings alone.
bool JsonTooDeep(absl::string_view json);

}  // namespace photon
