// Letter case by Unicode's full mappings.
#pragma once

#include <string>

#include "absl/strings/string_view.h"

namespace photon {

// The first character of `text` (UTF-8) in title case, the others in lower case: Python's str.capitalize.
std::string Capitalize(absl::string_view text);

}  // namespace photon
