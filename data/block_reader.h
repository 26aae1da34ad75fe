// Cuts the files of a corpus into blocks of whole lines, which can be parsed and tokenised on their own, in any order.
// Where a block ends depends on the files and options alone. Used by one thread; memory is bounded by the longest line,
// or the longest document of plain text where documents are not to be cut.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "core/status.h"
#include "data/byte_source.h"
#include "data/input_files.h"

namespace photon {

// Separator that stands for one or more lines of nothing but white space.
inline constexpr char kBlankLine[] = "blank-line";
// Whether `line` parts documents of plain text; `separator` is CorpusOptions::separator.
bool IsSeparator(absl::string_view line, const std::string& separator);

// Whether a document may be cut before the newline at `newline` of `text`; must not look further than a few hundred
// bytes around it. Empty: before any.
using CutAllowed = std::function<bool(absl::string_view text, size_t newline)>;

struct BlockOptions {
  std::string separator;      // of plain text
  bool cut_documents = true;  // of plain text, before newlines
  CutAllowed cut_allowed = {};
  int64_t block_bytes = 256 << 10;  // about; more where a line (or an uncut document) is longer
  int64_t longest = 1 << 30;        // a line or uncut document longer than that is refused
};

// Where a block begins.
struct BlockPosition {
  int64_t file = 0;
  int64_t offset = 0;      // unpacked bytes of the file before
  int64_t lines = 0;       // of the file before
  bool continues = false;  // plain text: inside a document
};

struct TextBlock {
  BlockPosition begin, end;  // end: where the block after begins
  bool json = false;
  bool ends_document = true;  // plain text: the last document ends with the block
  int64_t consumed = 0;       // bytes read of all files so far, as they are packed
  std::string padded;         // the lines, then kPadding bytes that parsers may read

  static constexpr size_t kPadding = 64;
  absl::string_view text() const { return absl::string_view(padded).substr(0, padded.size() - kPadding); }
};

class BlockReader {
 public:
  BlockReader(std::vector<InputFile> files, BlockOptions options, const BlockPosition& begin = {});

  // False after the last. Errors: those of ByteSource; kInvalidArgument for what is too long; kFailedPrecondition for a
  // file that changed meanwhile.
  absl::StatusOr<bool> Next(TextBlock* block);

 private:
  absl::Status OpenFile();
  absl::Status Fill();  // reads until pending_ can be cut or the file ends
  absl::Status TooLong() const;
  size_t FindCut() const;
  size_t CutBetweenDocuments() const;
  size_t CutInText() const;
  void Take(size_t bytes, TextBlock* block);

  std::vector<InputFile> files_;
  BlockOptions options_;
  BlockPosition at_;                    // of pending_
  std::unique_ptr<ByteSource> source_;  // files_[at_.file], or none where that is to be opened
  bool json_ = false;
  bool whole_file_ = false;  // read to the end: pending_ is the rest
  std::string pending_;
  size_t cut_ = 0;               // of pending_; 0: none yet
  int64_t consumed_before_ = 0;  // by the files before
};

}  // namespace photon
