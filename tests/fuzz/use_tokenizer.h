// What is done with a tokenizer that was read.
#pragma once

#include <string>

#include "absl/strings/string_view.h"
#include "data/tokenizer.h"

namespace photon::fuzz {

// "$BYTES" in an input stands for the entries of a tokenizer.json's vocabulary that byte-level BPE can't do without: no
// mutation would keep all of them.
std::string WithByteAlphabet(absl::string_view bytes);

// Encodes, decodes and cuts a short text.
void UseTokenizer(const Tokenizer& tokenizer);

}  // namespace photon::fuzz
