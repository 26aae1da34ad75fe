// Where characters end in UTF-8. Strict: overlong forms, surrogates and values over U+10FFFF are invalid.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"

namespace photon {

inline constexpr int kUtf8Invalid = 0;
inline constexpr int kUtf8Incomplete = -1;
inline constexpr char kUtf8Replacement[] = "\xEF\xBF\xBD";  // U+FFFD

// Bytes of the first character of `text` (not empty): 1 to 4, kUtf8Invalid where its first byte begins none, or
// kUtf8Incomplete where more bytes could still make one.
int Utf8Length(absl::string_view text);

struct Utf8Character {
  char32_t value;
  int bytes;
};
// The first or last character of `text`, which is valid and not empty.
Utf8Character FirstCharacter(absl::string_view text);
Utf8Character LastCharacter(absl::string_view text);

// Bytes that one U+FFFD stands for where `text` begins with no character: those that could begin one, at least 1
// (Unicode 16, section 3.9, "maximal subpart").
int Utf8InvalidLength(absl::string_view text);

// `text` with U+FFFD for what is not UTF-8.
std::string ReplaceInvalidUtf8(absl::string_view text);

// Characters of valid `text`: Python's len().
int64_t CountCharacters(absl::string_view text);

// Offset of the first byte that is not part of a valid character; text.size() where all is valid.
size_t FirstInvalidUtf8(absl::string_view text);

}  // namespace photon
