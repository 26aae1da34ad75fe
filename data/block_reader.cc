#include "data/block_reader.h"

#include <algorithm>
#include <cstring>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "core/human.h"
#include "data/utf8.h"

namespace photon {
namespace {

constexpr char kByteOrderMark[] = "\xEF\xBB\xBF";

// Where the line that ends before `end` begins.
size_t LineBegin(const std::string& text, size_t end) {
  if (end == 0) return 0;
  const void* newline = memrchr(text.data(), '\n', end);
  return newline == nullptr ? 0 : static_cast<const char*>(newline) - text.data() + 1;
}

}  // namespace

bool IsSeparator(absl::string_view line, const std::string& separator) {
  if (separator.empty()) return false;
  if (separator == kBlankLine) return line.find_first_not_of(" \t\r\f") == absl::string_view::npos;
  return absl::StripSuffix(line, "\r") == separator;
}

BlockReader::BlockReader(std::vector<InputFile> files, BlockOptions options, const BlockPosition& begin)
    : files_(std::move(files)), options_(std::move(options)), at_(begin) {
  for (int64_t i = 0; i < begin.file; ++i) consumed_before_ += files_[i].bytes;
}

absl::StatusOr<bool> BlockReader::Next(TextBlock* block) {
  while (true) {
    if (source_ == nullptr) {
      if (at_.file == static_cast<int64_t>(files_.size())) return false;
      PHOTON_RETURN_IF_ERROR(OpenFile());
    }
    PHOTON_RETURN_IF_ERROR(Fill());
    if (cut_ > 0 || at_.continues) {  // a document may end with a file of which nothing is left
      Take(cut_, block);
      return true;
    }
    PHOTON_RETURN_IF_ERROR(CheckUnchanged(files_[at_.file]));
    consumed_before_ += source_->consumed();
    source_.reset();
    at_ = {.file = at_.file + 1};
  }
}

absl::Status BlockReader::OpenFile() {
  const std::string& path = files_[at_.file].path;
  PHOTON_ASSIGN_OR_RETURN(source_, ByteSource::Open(path));
  json_ = IsJsonLines(path);
  whole_file_ = false;
  pending_.clear();
  if (at_.offset > 0) return source_->Skip(at_.offset);
  char first[3];
  PHOTON_ASSIGN_OR_RETURN(const int64_t count, source_->Read(first, sizeof first));
  pending_.assign(first, count);
  if (pending_ == kByteOrderMark) {
    pending_.clear();
    at_.offset = sizeof first;
  }
  return absl::OkStatus();
}

absl::Status BlockReader::Fill() {
  cut_ = 0;
  int64_t want = options_.block_bytes;
  while (true) {
    const auto have = static_cast<int64_t>(pending_.size());
    if (!whole_file_ && have < want) {
      pending_.resize(want);
      PHOTON_ASSIGN_OR_RETURN(const int64_t count, source_->Read(pending_.data() + have, want - have));
      pending_.resize(have + count);
      whole_file_ = count < want - have;
    }
    cut_ = whole_file_ && static_cast<int64_t>(pending_.size()) <= want ? pending_.size() : FindCut();
    if (cut_ > 0 || whole_file_) break;
    if (want > options_.longest) return TooLong();
    want *= 2;
  }
  if (cut_ == 0) cut_ = pending_.size();
  return absl::OkStatus();
}

absl::Status BlockReader::TooLong() const {
  const bool line = json_ || pending_.find('\n') == std::string::npos;
  const char* what = line                     ? "a line"
                     : options_.cut_documents ? "text that this tokenizer cannot read in parts, in a document"
                                              : "a document";
  return absl::InvalidArgumentError(
      absl::StrCat("input ", files_[at_.file].path, ", line ", at_.lines + 1, ": ", what, " of more than ",
                   HumanBytes(options_.longest), ": ",
                   line ? "is this a text file?" : "say with --document-separator what parts documents"));
}

// The last place at which a block may end; 0 where there is none.
size_t BlockReader::FindCut() const {
  if (json_) return LineBegin(pending_, pending_.size());
  return options_.cut_documents ? CutInText() : CutBetweenDocuments();
}

size_t BlockReader::CutBetweenDocuments() const {
  if (options_.separator.empty()) return 0;
  for (size_t end = LineBegin(pending_, pending_.size()); end > 0;) {
    const size_t begin = LineBegin(pending_, end - 1);
    if (IsSeparator(absl::string_view(pending_).substr(begin, end - 1 - begin), options_.separator)) return end;
    end = begin;
  }
  return 0;
}

// Not after a document's first line where that is empty: the part before would be empty too, and the tokenizer could
// not know that the next is the first with text. So the cut goes back over empty lines, and lines that may be emptied
// because they are not UTF-8; in a block of nothing else there are several, and the part holds their newlines.
size_t BlockReader::CutInText() const {
  const size_t last = LineBegin(pending_, pending_.size());
  for (size_t end = last; end > 0;) {
    const size_t begin = LineBegin(pending_, end - 1);
    const absl::string_view line = absl::string_view(pending_).substr(begin, end - 1 - begin);
    if (IsSeparator(line, options_.separator)) return end;
    const bool text = !line.empty() && FirstInvalidUtf8(line) == line.size();
    if (text && (!options_.cut_allowed || options_.cut_allowed(pending_, end - 1))) return end;
    end = begin;
  }
  return !options_.cut_allowed && (last > 1 || at_.continues) ? last : 0;
}

void BlockReader::Take(size_t bytes, TextBlock* block) {
  block->begin = at_;
  block->json = json_;
  block->padded.assign(pending_, 0, bytes);
  pending_.erase(0, bytes);
  const absl::string_view text = block->padded;
  at_.offset += static_cast<int64_t>(bytes);
  at_.lines += std::count(text.begin(), text.end(), '\n') + (!text.empty() && text.back() != '\n');
  const bool last = whole_file_ && pending_.empty();
  if (json_ || last) {
    at_.continues = false;
  } else {
    const size_t begin = LineBegin(block->padded, text.size() - 1);
    at_.continues = !IsSeparator(text.substr(begin, text.size() - 1 - begin), options_.separator);
  }
  block->ends_document = !at_.continues;
  block->end = at_;
  block->consumed = consumed_before_ + source_->consumed();
  block->padded.append(TextBlock::kPadding, '\0');
}

}  // namespace photon
