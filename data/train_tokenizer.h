// A SentencePiece tokenizer from one's own text, with Llama's conventions: BPE, bytes for what has no piece, no
// normalisation, digits one by one, unknown 0, begin-of-text 1, end-of-text 2.
#pragma once

#include <cstdint>
#include <string>

#include "core/status.h"
#include "data/corpus.h"

namespace photon {

// The serialized model. The same text gives the same bytes: of more than 10 MB, a fixed choice of lines is used.
// kInvalidArgument where the text does not support that many pieces, or holds nothing. `progress`: lines on stderr.
absl::StatusOr<std::string> TrainTokenizer(const CorpusOptions& corpus, int64_t vocab_size, bool progress = false);

}  // namespace photon
