#include "launch/gguf_vocabulary.h"

#include "tests/fuzz/targets.h"
#include "tests/fuzz/use_tokenizer.h"

namespace photon::fuzz {

void FuzzGgufVocabulary(absl::string_view bytes) { GgufVocabularyOf(WithByteAlphabet(bytes), "fuzz").IgnoreError(); }

}  // namespace photon::fuzz
