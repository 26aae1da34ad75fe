#include "tests/fuzz/targets.h"
#include "tests/fuzz/use_tokenizer.h"

namespace photon::fuzz {

void FuzzSentencePiece(absl::string_view bytes) {
  const auto tokenizer = Tokenizer::FromBytes(std::string(bytes), "fuzz");
  if (tokenizer.ok()) UseTokenizer(**tokenizer);
}

}  // namespace photon::fuzz
