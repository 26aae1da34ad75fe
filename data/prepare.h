// `photon prepare`: text to a token file.
//
// Writes PREFIX.bin, PREFIX.idx, PREFIX.json and PREFIX.tokenizer.model under temporary names, makes them durable and
// renames them, PREFIX.idx last: a run that is killed leaves no token file that anything would read. Each document is
// stored as begin-of-text, its tokens, end-of-text. Memory does not grow with the corpus where the tokenizer keeps
// newlines apart (Tokenizer::splits_at_newlines; true for Llama's and for the ones trained here), else with the longest
// document. The output is the same for any number of threads.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/status.h"
#include "data/token_file_info.h"

namespace photon {

struct PrepareOptions {
  std::vector<std::string> inputs;  // *.jsonl: JSON lines; others: plain text
  std::string tokenizer;        // a SentencePiece model; with train_tokenizer, where to put it as well (may be empty)
  std::string out;              // PREFIX
  int64_t train_tokenizer = 0;  // pieces of a tokenizer to be trained on the inputs; 0: `tokenizer` exists
  std::string document_separator;  // of plain text: CorpusOptions::separator
  int threads = 0;                 // 0: one a core
  bool progress = true;            // a line on stderr with the time left, after two seconds
};

// kInvalidArgument, kNotFound: bad input, the message names file and line. kAlreadyExists: a tokenizer was to be
// trained where a file stands.
absl::StatusOr<TokenFileInfo> Prepare(const PrepareOptions& options);

}  // namespace photon
