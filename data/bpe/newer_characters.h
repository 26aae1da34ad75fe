// Characters that PCRE2 10.42 (Unicode 14) puts into another category than the library `tokenizers` (Unicode 16) does,
// nearly all because they are newer. Ids must not depend on that: regular expressions are shown an older character of
// the right category, and as many bytes, in their place.
#pragma once

#include <string>

#include "absl/strings/string_view.h"

namespace photon {

// Where `text` (valid UTF-8) holds such characters, true, and `shadow` is the text with stand-ins, as many bytes long.
bool StandInForNewer(absl::string_view text, std::string* shadow);

}  // namespace photon
