// Half surrogate pairs in JSON: "\ud83d" alone, which is no character. Programs that cut strings of UTF-16 write them.
#pragma once

#include <string>

#include "absl/strings/string_view.h"

namespace photon {

// JSON text with \ufffd for each escape of half a surrogate pair (\ud800 to \udfff) that stands alone.
std::string ReplaceHalfSurrogatePairs(absl::string_view json);

}  // namespace photon
