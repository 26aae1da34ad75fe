// A SentencePiece model (BPE or unigram) as a tokenizer.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "data/sentencepiece/api.h"
#include "data/tokenizer.h"

namespace photon {

class SentencePieceTokenizer : public Tokenizer {
 public:
  // From a serialized model.
  static absl::StatusOr<std::shared_ptr<const Tokenizer>> Create(std::string bytes, absl::string_view name);

  std::vector<int32_t> Encode(absl::string_view text) const override;
  // Cuts lie before newlines, where no piece joins a newline to a neighbour.
  bool MayCut(absl::string_view text, size_t at) const override { return splits_at_newlines_ && text[at] == '\n'; }
  bool can_cut() const override { return splits_at_newlines_; }
  std::vector<int32_t> EncodeRest(absl::string_view text) const override;
  bool splits_at_newlines() const override { return splits_at_newlines_; }
  Vocabulary vocabulary() const override;

 private:
  explicit SentencePieceTokenizer(std::string bytes) : Tokenizer(std::move(bytes)) {}
  void ReadPieces();
  void FindConventions();
  std::string LibraryDecode(const std::vector<int32_t>& ids) const;

  const SentencePieceApi* api_ = nullptr;
  std::unique_ptr<void, void (*)(void*)> model_{nullptr, nullptr};
  bool splits_at_newlines_ = false;
  std::vector<int32_t> newline_prefix_;  // what Encode puts before a leading newline
};

}  // namespace photon
