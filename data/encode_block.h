// Blocks of text to blocks of token ids: the work of `photon prepare` that any thread may do in any order.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/status.h"
#include "data/corpus.h"
#include "data/tokenizer.h"

namespace photon {

// A document, or a part of one, of an EncodedBlock.
struct EncodedPart {
  int64_t ids = 0;  // how many
  int64_t text_bytes = 0;
  std::string source;
  bool begins = true;  // the first id is begin-of-text
  bool ends = true;    // the last id is end-of-text
  TextHash hash = {};
};

struct EncodedBlock {
  BlockPosition begin, end;
  int64_t consumed = 0;  // TextBlock::consumed
  std::vector<int32_t> ids = {};
  std::vector<EncodedPart> parts = {};
  std::vector<BadLine> bad = {};
  absl::Status status = {};  // a bad line where those fail: comes after the parts
};

// One a thread.
class BlockEncoder {
 public:
  BlockEncoder(std::shared_ptr<const Tokenizer> tokenizer, const CorpusOptions& corpus)
      : tokenizer_(std::move(tokenizer)), parser_(corpus) {}

  EncodedBlock Encode(const TextBlock& block, const std::string& path);

 private:
  void EncodeText(const TextPart& part, std::vector<int32_t>* ids) const;

  std::shared_ptr<const Tokenizer> tokenizer_;
  BlockParser parser_;
};

// Options under which long documents of plain text come in parts where that leaves their tokens as they are.
void SetCuts(std::shared_ptr<const Tokenizer> tokenizer, CorpusOptions* corpus);

}  // namespace photon
