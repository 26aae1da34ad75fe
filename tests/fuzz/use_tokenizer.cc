#include "tests/fuzz/use_tokenizer.h"

#include <nlohmann/json.hpp>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "core/check.h"
#include "data/bpe/byte_alphabet.h"

namespace photon::fuzz {
namespace {

std::string ByteAlphabet() {
  nlohmann::json entries = nlohmann::json::object();
  for (uint32_t character = 0x21; character < 0x180; ++character) {
    const std::string piece = character < 0x80 ? std::string(1, static_cast<char>(character))
                                               : std::string{static_cast<char>(0xC0 | character >> 6),
                                                             static_cast<char>(0x80 | (character & 0x3F))};
    if (FromByteAlphabet(piece).has_value()) entries.emplace(piece, entries.size());
  }
  const std::string object = entries.dump();
  return object.substr(1, object.size() - 2);
}

}  // namespace

std::string WithByteAlphabet(absl::string_view bytes) {
  static const auto* const kAlphabet = new std::string(ByteAlphabet());
  return absl::StrReplaceAll(bytes, {{"$BYTES", *kAlphabet}});
}

void UseTokenizer(const Tokenizer& tokenizer) {
  const std::string text = "The the  end\n\n 'tis 12345 \xC3\xA9t\xC3\xA9 <|endoftext|> \xE2\x82\xAC\xFF\r\n\tx";
  const std::vector<int32_t> ids = tokenizer.Encode(text);
  for (const int32_t id : ids) PHOTON_CHECK(id >= 0 && id < tokenizer.vocab_size()) << id;
  tokenizer.Decode(ids);
  tokenizer.vocabulary();
  std::vector<int32_t> every;
  for (int32_t id = -1; id <= 300; ++id) every.push_back(id);
  tokenizer.Decode(every);
  const size_t cut = tokenizer.FindCut(text, 1);
  if (cut == std::string::npos) return;
  std::vector<int32_t> parts = tokenizer.Encode(text.substr(0, cut));
  for (const int32_t id : tokenizer.EncodeRest(text.substr(cut))) parts.push_back(id);
  PHOTON_CHECK(parts == ids) << "cut at " << cut;
}

}  // namespace photon::fuzz
