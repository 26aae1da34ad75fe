// `photon prepare`: text to token files.
//
// Writes PREFIX.bin, PREFIX.idx, PREFIX.json and PREFIX.tokenizer.model (or .json); with split_by_source
// PREFIX.NAME.bin, .idx, .json for each source and PREFIX.json for all. They grow in a folder PREFIX.partial and get
// their names at the end, indexes last: a run that is killed leaves no token file that anything would read. From time
// to time the folder is made durable; the same call then goes on from there, and its result is the same, byte for byte,
// as without interruption, and for any number of threads. Each document is stored as begin-of-text, its tokens,
// end-of-text.
//
// Memory does not grow with the corpus but for drop_duplicates (20 to 40 bytes a document) and with the longest line
// or, where the tokenizer does not let plain text be cut (Tokenizer::MayCut) or duplicates are dropped, document. A
// token file being written takes up to 0.6 MB and 8 bytes for each id of the vocabulary, twice that while they are made
// durable: with split_by_source, that for each source, of which there are at most 200.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/file_system.h"
#include "core/status.h"
#include "data/corpus.h"
#include "data/token_file_info.h"

namespace photon {

struct PrepareOptions {
  std::vector<std::string>
      inputs;                      // names and patterns; *.jsonl, .jsonl.gz, .jsonl.zst: JSON lines; others: plain text
  std::string tokenizer;           // a file; with train_tokenizer, where to put it as well (may be empty)
  std::string out;                 // PREFIX
  int64_t train_tokenizer = 0;     // pieces of a tokenizer to be trained on the inputs; 0: `tokenizer` exists
  std::string document_separator;  // of plain text: CorpusOptions::separator
  std::string text_key = "text";
  std::string source_key = "meta.pile_set_name";
  OnError on_error = OnError::kFail;
  double max_skipped = 1;  // share of the lines that may be skipped; more is a failure, from 100,000 lines on at once
  bool drop_duplicates = false;  // documents whose text was there before (by 128-bit hash) are left out
  bool split_by_source = false;
  bool fresh = false;           // forget what an unfinished call left; replace what stands under PREFIX
  int threads = 0;              // 0: one a core
  double durable_seconds = 15;  // between two points from which a killed run goes on
  bool progress = true;         // on stderr: a line with the time left, after two seconds; the first bad lines
};

// kInvalidArgument, kNotFound: bad input, the message names file and line. kDataLoss: a damaged archive.
// kAlreadyExists: a tokenizer was to be trained where a file stands, another program writes PREFIX, or something else
// stands under PREFIX. Where the same call finished it earlier, nothing is done.
// kFailedPrecondition: an unfinished call with other options or inputs, or inside a pipe; an input that changes.
// kResourceExhausted: a full disk. Where what was done is of use to another call, the message says so.
//
// The last step, in which the files get their names, goes through `files`.
absl::StatusOr<TokenFileInfo> Prepare(const PrepareOptions& options, FileSystem& files = RealFileSystem());

}  // namespace photon
