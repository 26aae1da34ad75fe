// Text to token ids and back, over a SentencePiece model. A loaded tokenizer is immutable: any thread may use it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "core/status.h"
#include "data/sentencepiece/api.h"

namespace photon {

class Tokenizer {
 public:
  // From a file, or from its bytes (as checkpoints carry them). `name` stands in messages.
  static absl::StatusOr<std::shared_ptr<const Tokenizer>> FromFile(const std::string& path);
  static absl::StatusOr<std::shared_ptr<const Tokenizer>> FromBytes(std::string bytes, absl::string_view name);

  // Ids of `text` alone, without begin- or end-of-text. Any bytes: what is not UTF-8 becomes U+FFFD.
  std::vector<int32_t> Encode(absl::string_view text) const;
  // Ids of a text whose part before was encoded already, where `text` begins with a newline: Encode(a + b) is Encode(a)
  // then EncodeRest(b). Only where splits_at_newlines().
  std::vector<int32_t> EncodeRest(absl::string_view text) const;
  // No piece joins a newline to a neighbour, so that a text may be encoded in parts that begin with newlines.
  bool splits_at_newlines() const { return splits_at_newlines_; }

  // Control pieces (begin- and end-of-text) and ids outside the vocabulary give nothing; bytes that form no character
  // give U+FFFD each.
  std::string Decode(absl::Span<const int32_t> ids) const;

  int64_t vocab_size() const { return static_cast<int64_t>(pieces_.size()); }
  // Where the model has only one of the two, it serves as both; -1 where it has neither.
  int32_t bos() const { return bos_ >= 0 ? bos_ : eos_; }
  int32_t eos() const { return eos_ >= 0 ? eos_ : bos_; }
  const std::string& bytes() const { return bytes_; }
  const std::string& hash() const { return hash_; }  // XXH3-128 of bytes(), 32 hex digits

 private:
  friend class TextStream;
  struct Piece {
    PieceKind kind;
    std::string text;  // with spaces for U+2581; the byte itself for kByte
  };

  Tokenizer() = default;
  void ReadPieces();
  void FindConventions();
  std::string LibraryDecode(const std::vector<int32_t>& ids) const;

  const SentencePieceApi* api_ = nullptr;
  std::unique_ptr<void, void (*)(void*)> model_{nullptr, nullptr};
  std::string bytes_;
  std::string hash_;
  std::vector<Piece> pieces_;
  int32_t bos_ = -1;
  int32_t eos_ = -1;
  bool strips_first_space_ = false;  // the space that encoding puts before a text is dropped again
  bool strips_every_space_ = false;  // ... and so are further ones before the first visible character
  bool splits_at_newlines_ = false;
  std::vector<int32_t> newline_prefix_;  // what Encode puts before a leading newline
};

// Decodes ids one by one, for text that appears as it is generated. What Push and Finish return, joined, is exactly
// Decode of all ids. Never returns part of a character. To continue a prompt, push the prompt's ids first and drop what
// comes back. Used by one thread.
class TextStream {
 public:
  explicit TextStream(std::shared_ptr<const Tokenizer> tokenizer) : tokenizer_(std::move(tokenizer)) {}
  explicit TextStream(const Tokenizer* tokenizer) : tokenizer_(std::shared_ptr<void>(), tokenizer) {}

  std::string Push(int32_t id);
  std::string Finish();  // what is left of an unfinished character

 private:
  std::string TakeCharacters(bool all);

  std::shared_ptr<const Tokenizer> tokenizer_;
  std::string pending_;   // bytes of byte pieces that are no whole character yet
  bool at_start_ = true;  // nothing visible yet
};

}  // namespace photon
