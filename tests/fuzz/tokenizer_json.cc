#include "tests/fuzz/targets.h"
#include "tests/fuzz/use_tokenizer.h"

namespace photon::fuzz {

void FuzzTokenizerJson(absl::string_view bytes) {
  std::string json = WithByteAlphabet(bytes);
  if (json.empty() || json[0] != '{') return;  // else it is read as a SentencePiece model
  const auto tokenizer = Tokenizer::FromBytes(std::move(json), "fuzz");
  if (tokenizer.ok()) UseTokenizer(**tokenizer);
}

}  // namespace photon::fuzz
