// Reads the documents of text files and JSON lines, in order and in bounded memory.
//
// *.jsonl: a document a line, {"text": "...", "meta": {"pile_set_name": "..."}}; meta may be absent. Any other file is
// plain text: one document, or, with a separator, what lies between separator lines. A document's text is exactly what
// stands there, less the newline that ends its last line (and a byte order mark). Empty documents are left out.
// Used by one thread.
#pragma once

#include <cstdint>
#include <deque>
#include <fstream>
#include <string>
#include <vector>

#include "core/status.h"

namespace photon {

// Separator that stands for one or more lines of nothing but white space.
inline constexpr char kBlankLine[] = "blank-line";

struct CorpusOptions {
  std::vector<std::string> files;
  std::string separator;   // of plain text: empty (a file is a document), kBlankLine, or a whole line
  int64_t part_bytes = 0;  // cut longer documents before newlines into parts of about this size; 0: never
};

// A document, or a part of one. Parts but the first begin with a newline.
struct TextPart {
  std::string text;
  std::string source;  // pile_set_name; empty where there is none
  bool begins = true;
  bool ends = true;
};

class CorpusReader {
 public:
  // kNotFound names a file that is missing; every file is looked for before any is read.
  static absl::StatusOr<CorpusReader> Create(CorpusOptions options);

  // False after the last. kInvalidArgument, with file and line, for text that is not UTF-8 and for broken JSON.
  absl::StatusOr<bool> Next(TextPart* part);

  int64_t total_bytes() const { return total_bytes_; }  // of the files
  int64_t bytes_read() const { return bytes_read_; }

 private:
  explicit CorpusReader(CorpusOptions options) : options_(std::move(options)) {}
  absl::Status OpenFile();
  absl::Status ReadLine();
  absl::Status TakeTextLine(const std::string& line);
  absl::Status TakeJsonLine(const std::string& line);
  absl::Status LineError(absl::string_view problem) const;
  void AddLine(absl::string_view line);  // to the document being read
  void EndDocument();

  CorpusOptions options_;
  size_t file_ = 0;  // options_.files[file_] is open, or next
  std::ifstream in_;
  bool json_ = false;
  int64_t line_ = 0;
  TextPart current_;
  bool has_lines_ = false;  // the document has a line before
  std::deque<TextPart> ready_;
  int64_t total_bytes_ = 0;
  int64_t bytes_read_ = 0;
};

}  // namespace photon
