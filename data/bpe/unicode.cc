#include "data/bpe/unicode.h"

#include <unicode/bytestream.h>
#include <unicode/normalizer2.h>
#include <unicode/uchar.h>
#include <unicode/uniset.h>

#include <algorithm>
#include <memory>

#include "core/check.h"

namespace photon {
namespace {

// The Unicode version of the normalisation tables in `tokenizers` 0.10 to 0.23.
constexpr char kKnownCharacters[] = "[:age=9.0:]";

struct Nfc {
  icu::UnicodeSet known;
  std::unique_ptr<icu::FilteredNormalizer2> normalizer;
};

const Nfc& GetNfc() {
  static const Nfc* const nfc = [] {
    UErrorCode error = U_ZERO_ERROR;
    const icu::Normalizer2* all = icu::Normalizer2::getNFCInstance(error);
    auto* made = new Nfc{icu::UnicodeSet(kKnownCharacters, error), nullptr};
    PHOTON_CHECK(U_SUCCESS(error)) << "ICU: " << u_errorName(error);
    made->known.freeze();
    made->normalizer = std::make_unique<icu::FilteredNormalizer2>(*all, made->known);
    return made;
  }();
  return *nfc;
}

}  // namespace

bool IsWhiteSpace(char32_t c) {
  if (c < 0x80) return c == ' ' || (c >= '\t' && c <= '\r');
  return u_isUWhiteSpace(static_cast<UChar32>(c)) != 0;
}

bool IsLetterOrNumber(char32_t c) {
  return (U_GET_GC_MASK(static_cast<UChar32>(c)) & (U_GC_L_MASK | U_GC_N_MASK)) != 0;
}

bool IsWord(char32_t c) {
  const auto code = static_cast<UChar32>(c);
  return u_hasBinaryProperty(code, UCHAR_ALPHABETIC) != 0 || u_hasBinaryProperty(code, UCHAR_JOIN_CONTROL) != 0 ||
         (U_GET_GC_MASK(code) & (U_GC_M_MASK | U_GC_ND_MASK | U_GC_PC_MASK)) != 0;
}

bool NormalizeNfc(absl::string_view text, std::string* result) {
  // Nothing below U+0300 changes or joins what precedes it: most text is told apart here.
  if (std::all_of(text.begin(), text.end(), [](char c) { return static_cast<uint8_t>(c) < 0xCC; })) return false;
  const icu::FilteredNormalizer2& normalizer = *GetNfc().normalizer;
  UErrorCode error = U_ZERO_ERROR;
  const icu::StringPiece source(text.data(), static_cast<int32_t>(text.size()));
  if (normalizer.isNormalizedUTF8(source, error) != 0 && U_SUCCESS(error)) return false;
  result->clear();
  icu::StringByteSink<std::string> sink(result);
  normalizer.normalizeUTF8(0, source, sink, nullptr, error);
  PHOTON_CHECK(U_SUCCESS(error)) << "ICU: " << u_errorName(error);
  return true;
}

}  // namespace photon
