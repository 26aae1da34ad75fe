#include "data/encode_block.h"

#include <algorithm>
#include <utility>

namespace photon {
namespace {

constexpr size_t kPartBytes = 256 << 10;  // given to the tokenizer at a time: its memory is a multiple of that

void AppendIds(const std::vector<int32_t>& more, std::vector<int32_t>* ids) {
  ids->insert(ids->end(), more.begin(), more.end());
}

}  // namespace

EncodedBlock BlockEncoder::Encode(const TextBlock& block, const std::string& path) {
  EncodedBlock encoded{.begin = block.begin, .end = block.end, .consumed = block.consumed};
  encoded.ids.reserve(block.text().size() / 3);  // of prose a little more than there will be
  std::vector<TextPart> parts;
  encoded.status = parser_.Parse(block, path, &parts, &encoded.bad);
  for (TextPart& part : parts) {
    const size_t before = encoded.ids.size();
    if (part.begins) encoded.ids.push_back(tokenizer_->bos());
    EncodeText(part, &encoded.ids);
    if (part.ends) encoded.ids.push_back(tokenizer_->eos());
    encoded.parts.push_back({.ids = static_cast<int64_t>(encoded.ids.size() - before),
                             .text_bytes = static_cast<int64_t>(part.text.size()),
                             .source = std::move(part.source),
                             .begins = part.begins,
                             .ends = part.ends,
                             .hash = part.hash});
  }
  return encoded;
}

void BlockEncoder::EncodeText(const TextPart& part, std::vector<int32_t>* ids) const {
  absl::string_view text = part.text;
  bool first = part.begins;
  while (!text.empty()) {
    const absl::string_view piece = text.substr(0, tokenizer_->FindCut(text, kPartBytes));
    AppendIds(first ? tokenizer_->Encode(piece) : tokenizer_->EncodeRest(piece), ids);
    first = false;
    text.remove_prefix(piece.size());
  }
}

void SetCuts(std::shared_ptr<const Tokenizer> tokenizer, CorpusOptions* corpus) {
  corpus->part_bytes = tokenizer->can_cut() ? kPartBytes : 0;
  if (tokenizer->splits_at_newlines()) return;
  corpus->cut_allowed = [tokenizer = std::move(tokenizer)](absl::string_view text, size_t newline) {
    return newline > 0 && tokenizer->MayCut(text, newline);
  };
}

}  // namespace photon
