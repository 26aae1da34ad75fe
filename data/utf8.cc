#include "data/utf8.h"

#include <cstring>

namespace photon {

int Utf8Length(absl::string_view text) {
  const uint8_t lead = text[0];
  if (lead < 0x80) return 1;
  // The second byte's range excludes overlong forms (E0, F0), surrogates (ED) and values over U+10FFFF (F4).
  int length = 0;
  uint8_t low = 0x80, high = 0xBF;
  if (lead >= 0xC2 && lead <= 0xDF) {
    length = 2;
  } else if (lead >= 0xE0 && lead <= 0xEF) {
    length = 3;
    if (lead == 0xE0) low = 0xA0;
    if (lead == 0xED) high = 0x9F;
  } else if (lead >= 0xF0 && lead <= 0xF4) {
    length = 4;
    if (lead == 0xF0) low = 0x90;
    if (lead == 0xF4) high = 0x8F;
  } else {
    return kUtf8Invalid;
  }
  for (int i = 1; i < length; ++i) {
    if (static_cast<size_t>(i) >= text.size()) return kUtf8Incomplete;
    const uint8_t byte = text[i];
    if (byte < low || byte > high) return kUtf8Invalid;
    low = 0x80;
    high = 0xBF;
  }
  return length;
}

size_t FirstInvalidUtf8(absl::string_view text) {
  size_t i = 0;
  while (i < text.size()) {
    uint64_t word;
    if (text.size() - i >= sizeof word) {  // most text is ASCII
      std::memcpy(&word, text.data() + i, sizeof word);
      if ((word & 0x8080808080808080u) == 0) {
        i += sizeof word;
        continue;
      }
    }
    const int length = Utf8Length(text.substr(i));
    if (length <= 0) return i;
    i += length;
  }
  return i;
}

}  // namespace photon
