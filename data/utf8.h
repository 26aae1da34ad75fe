// Where characters end in UTF-8. Strict: overlong forms, surrogates and values over U+10FFFF are invalid.
#pragma once

#include <cstddef>
#include <cstdint>

#include "absl/strings/string_view.h"

namespace photon {

inline constexpr int kUtf8Invalid = 0;
inline constexpr int kUtf8Incomplete = -1;
inline constexpr char kUtf8Replacement[] = "\xEF\xBF\xBD";  // U+FFFD

// Bytes of the first character of `text` (not empty): 1 to 4, kUtf8Invalid where its first byte begins none, or
// kUtf8Incomplete where more bytes could still make one.
int Utf8Length(absl::string_view text);

// Offset of the first byte that is not part of a valid character; text.size() where all is valid.
size_t FirstInvalidUtf8(absl::string_view text);

}  // namespace photon
