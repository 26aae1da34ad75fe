// The alphabet in which byte-level BPE writes pieces: a character for each byte. Printable bytes of Latin-1 are
// themselves, the others are U+0100 onwards in order (a space is U+0120). Source: bytes_to_unicode in GPT-2's
// encoder.py.
#pragma once

#include <optional>
#include <string>

#include "absl/strings/string_view.h"

namespace photon {

// The bytes that `piece` (valid UTF-8) stands for; nothing where it holds a character that is not in the alphabet.
std::optional<std::string> FromByteAlphabet(absl::string_view piece);

}  // namespace photon
