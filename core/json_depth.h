// How deep JSON may nest that is copied or printed: the library does both by recursion, and its stack ends.
#pragma once

#include "absl/strings/string_view.h"

namespace photon {

inline constexpr int kMostJsonDepth = 256;

// Whether objects and arrays of `json` nest deeper than that. Any bytes; looks at brackets outside of strings alone.
bool JsonTooDeep(absl::string_view json);

}  // namespace photon
