#include "data/bpe/byte_alphabet.h"

#include <array>
#include <cstdint>

#include "data/utf8.h"

namespace photon {
namespace {

constexpr int kCharacters = 256 + 68;  // Latin-1, and those for its 68 unprintable bytes

// By character; -1 where the alphabet has none.
constexpr std::array<int16_t, kCharacters> MakeBytes() {
  std::array<int16_t, kCharacters> bytes{};
  int next = 256;
  for (int b = 0; b < 256; ++b) {
    const bool printable = (b >= '!' && b <= '~') || (b >= 0xA1 && b != 0xAD);
    if (!printable) bytes[b] = -1;
    bytes[printable ? b : next++] = static_cast<int16_t>(b);
  }
  return bytes;
}

constexpr std::array<int16_t, kCharacters> kBytes = MakeBytes();

}  // namespace

std::optional<std::string> FromByteAlphabet(absl::string_view piece) {
  std::string bytes;
  while (!piece.empty()) {
    const Utf8Character c = FirstCharacter(piece);
    if (c.value >= kCharacters || kBytes[c.value] < 0) return std::nullopt;
    bytes += static_cast<char>(kBytes[c.value]);
    piece.remove_prefix(c.bytes);
  }
  return bytes;
}

}  // namespace photon
