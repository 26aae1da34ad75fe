#include "data/corpus.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

namespace photon {

BlockOptions BlockOptionsOf(const CorpusOptions& options) {
  BlockOptions blocks{
      .separator = options.separator, .cut_documents = options.part_bytes > 0, .cut_allowed = options.cut_allowed};
  if (options.part_bytes > 0) blocks.block_bytes = options.part_bytes;
  return blocks;
}

CorpusReader::CorpusReader(const CorpusOptions& options, std::vector<InputFile> files)
    : files_(std::move(files)), blocks_(files_, BlockOptionsOf(options)), parser_(options) {
  constexpr int64_t kTypicalRatio = 3;  // of gzip and zstd -3 on prose
  for (const InputFile& file : files_) {
    total_bytes_ += file.bytes;
    estimated_text_bytes_ += file.bytes * (IsPacked(file.path) ? kTypicalRatio : 1);
  }
}

absl::StatusOr<CorpusReader> CorpusReader::Create(CorpusOptions options) {
  PHOTON_ASSIGN_OR_RETURN(std::vector<InputFile> files, FindInputFiles(options.files));
  return CorpusReader(options, std::move(files));
}

absl::StatusOr<bool> CorpusReader::Next(TextPart* part) {
  while (ready_.empty()) {
    PHOTON_ASSIGN_OR_RETURN(const bool more, blocks_.Next(&block_));
    if (!more) return false;
    std::vector<TextPart> parts;
    std::vector<BadLine> bad;
    PHOTON_RETURN_IF_ERROR(parser_.Parse(block_, files_[block_.begin.file].path, &parts, &bad));
    ready_.assign(std::make_move_iterator(parts.begin()), std::make_move_iterator(parts.end()));
  }
  *part = std::move(ready_.front());
  ready_.pop_front();
  return true;
}

}  // namespace photon
