// A checkpoint's tokenizer as GGUF files describe it.
#pragma once

#include "absl/strings/string_view.h"
#include "checkpoint/gguf_export.h"
#include "core/status.h"

namespace photon {

// From the tokenizer file's bytes; `name` stands in messages. kFailedPrecondition, with the reason, for tokenizers that
// llama.cpp would cut texts differently with: SentencePiece models that are not BPE or lack byte pieces, tokenizer.json
// with a normalizer, a space put before texts, or a way of cutting and merging words that it has no name for.
absl::StatusOr<GgufVocabulary> GgufVocabularyOf(absl::string_view bytes, absl::string_view name);

}  // namespace photon
