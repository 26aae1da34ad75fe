#include "data/utf8.h"

#include <algorithm>
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

Utf8Character FirstCharacter(absl::string_view text) {
  const uint8_t lead = text[0];
  if (lead < 0x80) return {lead, 1};
  const int bytes = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
  char32_t value = lead & (0x7F >> bytes);
  for (int i = 1; i < bytes; ++i) value = value << 6 | (static_cast<uint8_t>(text[i]) & 0x3F);
  return {value, bytes};
}

Utf8Character LastCharacter(absl::string_view text) {
  size_t begin = text.size() - 1;
  while ((static_cast<uint8_t>(text[begin]) & 0xC0) == 0x80) --begin;
  return FirstCharacter(text.substr(begin));
}

int Utf8InvalidLength(absl::string_view text) {
  int length = 1;
  while (static_cast<size_t>(length) < text.size() && Utf8Length(text.substr(0, length + 1)) == kUtf8Incomplete) {
    ++length;
  }
  return length;
}

std::string ReplaceInvalidUtf8(absl::string_view text) {
  std::string valid;
  while (!text.empty()) {
    const size_t good = FirstInvalidUtf8(text);
    valid.append(text.data(), good);
    text.remove_prefix(good);
    if (text.empty()) break;
    valid += kUtf8Replacement;
    text.remove_prefix(Utf8InvalidLength(text));
  }
  return valid;
}

int64_t CountCharacters(absl::string_view text) {
  const auto begins_one = [](char byte) { return (static_cast<uint8_t>(byte) & 0xC0) != 0x80; };
  return std::count_if(text.begin(), text.end(), begins_one);
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
