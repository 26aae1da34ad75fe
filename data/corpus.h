// The documents of text files and JSON lines, in order and in bounded memory.
//
// *.jsonl: a document a line, {"text": "...", "meta": {"pile_set_name": "..."}}; meta may be absent. Any other file is
// plain text: one document, or, with a separator, what lies between separator lines. Both may be packed (.gz, .zst). A
// document's text is exactly what stands there, less the newline that ends its last line (and a byte order mark). Empty
// documents are left out. Used by one thread.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "core/status.h"
#include "data/block_reader.h"

namespace photon {

// What happens to a line that is no document: not valid UTF-8, no JSON, without a text.
enum class OnError {
  kFail,
  kSkip,     // left out (of plain text: left empty) and counted
  kReplace,  // bytes that are not UTF-8 and half surrogate pairs become U+FFFD; what is broken otherwise is left out
};

struct CorpusOptions {
  std::vector<std::string> files;  // names and patterns: FindInputFiles
  std::string separator = "";      // of plain text: empty (a file is a document), kBlankLine, or a whole line
  int64_t part_bytes = 0;          // cut longer ones of plain text before newlines, into about this size; 0: never
  CutAllowed cut_allowed = {};     // ... at newlines that it allows
  std::string text_key = "text";
  std::string source_key = "meta.pile_set_name";  // objects within objects, joined by dots
  OnError on_error = OnError::kFail;
  bool hash = false;  // fill TextPart::hash; needs part_bytes = 0, because the parts are seen one by one
};

using TextHash = std::array<uint64_t, 2>;  // XXH3, 128 bits

// A document, or a part of one. Parts but the first begin with a newline.
struct TextPart {
  std::string text;
  std::string source;  // pile_set_name; empty where there is none
  bool begins = true;
  bool ends = true;
  TextHash hash = {};  // of the whole document's text, where asked for
};

// A line that is no document.
struct BadLine {
  int64_t line = 0;  // from 1
  std::string problem;
  std::string excerpt;    // how it begins, valid UTF-8
  bool replaced = false;  // and was mended
};

// Turns blocks into documents. One a thread.
class BlockParser {
 public:
  // `options` without its files; kept.
  explicit BlockParser(CorpusOptions options);
  BlockParser(BlockParser&&) noexcept;
  ~BlockParser();

  // Appends. `path` is for messages. kInvalidArgument, with file and line, for a bad line where those fail; what was
  // before it has been appended.
  absl::Status Parse(const TextBlock& block, const std::string& path, std::vector<TextPart>* parts,
                     std::vector<BadLine>* bad);

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

// One document after the other.
class CorpusReader {
 public:
  // kNotFound names a file that is missing; every file is looked for before any is read.
  static absl::StatusOr<CorpusReader> Create(CorpusOptions options);

  // False after the last. kInvalidArgument, with file and line, for bad lines where those fail.
  absl::StatusOr<bool> Next(TextPart* part);

  int64_t total_bytes() const { return total_bytes_; }  // of the files, packed where they are
  int64_t bytes_read() const { return block_.consumed; }
  int64_t estimated_text_bytes() const { return estimated_text_bytes_; }  // roughly, of packed files

 private:
  CorpusReader(const CorpusOptions& options, std::vector<InputFile> files);

  std::vector<InputFile> files_;
  BlockReader blocks_;
  BlockParser parser_;
  TextBlock block_;
  std::deque<TextPart> ready_;
  int64_t total_bytes_ = 0;
  int64_t estimated_text_bytes_ = 0;
};

// How a corpus is cut into blocks under these options.
BlockOptions BlockOptionsOf(const CorpusOptions& options);

}  // namespace photon
