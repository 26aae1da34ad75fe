// How deep JSON may nest, and how many fields it may have: the library copies and prints by recursion, and its stack
// ends; a level, which is one byte to who sends it, takes some eighty bytes of memory; and objects that keep the order
// of their fields look at all of them for each.
#pragma once

#include "absl/strings/string_view.h"

namespace photon {

inline constexpr int kMostJsonDepth = 256;

// Whether objects and arrays of `json` nest deeper than that. Any bytes; looks at brackets outside of strings alone.
bool JsonTooDeep(absl::string_view json);

inline constexpr int kMostJsonFields = 16384;

// Whether its objects have more fields than that, all together. Any bytes; counts colons outside of strings.
bool JsonTooWide(absl::string_view json);

}  // namespace photon
