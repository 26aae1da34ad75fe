// What byte-level BPE asks of Unicode beside regular expressions.
#pragma once

#include <string>

#include "absl/strings/string_view.h"

namespace photon {

bool IsWhiteSpace(char32_t c);  // the property White_Space
bool IsLetterOrNumber(char32_t c);
bool IsWord(char32_t c);  // \w of UTS #18: alphabetic, marks, decimal digits, connectors, joiners

// Normalization Form C of `text` (valid UTF-8), of the Unicode version that the library `tokenizers` has: characters
// that are newer stay as they are. False, and `result` untouched, where the text is in that form already.
bool NormalizeNfc(absl::string_view text, std::string* result);

}  // namespace photon
