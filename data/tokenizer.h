// Text to token ids and back. Two kinds: SentencePiece models, and byte-level BPE from Hugging Face's tokenizer.json.
// A loaded tokenizer is immutable: any thread may use it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "core/status.h"
#include "data/vocabulary.h"

namespace photon {

class Tokenizer {
 public:
  // From a file, or from its bytes (as checkpoints carry them); what it begins with tells the format. `name` stands in
  // messages. kInvalidArgument names what is broken or not supported.
  static absl::StatusOr<std::shared_ptr<const Tokenizer>> FromFile(const std::string& path);
  static absl::StatusOr<std::shared_ptr<const Tokenizer>> FromBytes(std::string bytes, absl::string_view name);
  virtual ~Tokenizer() = default;

  // Ids of `text` alone, without begin- or end-of-text. Any bytes: what is not UTF-8 becomes U+FFFD. Pieces that
  // tokenizer.json lists as added, special ones too, are found in the text (SentencePiece's control pieces never are).
  virtual std::vector<int32_t> Encode(absl::string_view text) const = 0;

  // Long texts may be encoded in parts, by several threads: where MayCut(text, at) for 0 < at < text.size(), whatever
  // `text` stands in, Encode(text) is Encode(text[0, at)) then EncodeRest(text[at, ...)), and a rest may be cut again.
  // It looks at the characters next to the cut. can_cut(): false where no place is known to be safe.
  virtual bool MayCut(absl::string_view text, size_t at) const = 0;
  // The first such place from `from` on; npos where there is none.
  size_t FindCut(absl::string_view text, size_t from) const;
  virtual bool can_cut() const = 0;
  virtual std::vector<int32_t> EncodeRest(absl::string_view text) const = 0;
  // MayCut before every newline.
  virtual bool splits_at_newlines() const = 0;

  // Control pieces (begin- and end-of-text) and ids outside the vocabulary give nothing. Bytes that form no character
  // give U+FFFD: SentencePiece for each, BPE for each maximal beginning of a character, as the libraries do.
  std::string Decode(absl::Span<const int32_t> ids) const;

  // What the piece adds to a text that has begun: maybe only parts of a character. Empty where Decode gives nothing.
  absl::string_view Bytes(int32_t id) const;

  // One more than the largest id.
  int64_t vocab_size() const { return static_cast<int64_t>(pieces_.size()); }
  // Where the tokenizer has only one of the two, it serves as both; -1 where it has neither.
  int32_t bos() const { return bos_ >= 0 ? bos_ : eos_; }
  int32_t eos() const { return eos_ >= 0 ? eos_ : bos_; }
  const std::string& bytes() const { return bytes_; }
  const std::string& hash() const { return hash_; }  // XXH3-128 of bytes(), 32 hex digits
  virtual Vocabulary vocabulary() const = 0;

 protected:
  friend class TextStream;
  struct Piece {
    enum class Kind : uint8_t { kText, kBytes };  // kBytes may begin or end inside a character
    Kind kind;
    std::string text;          // to be shown
    bool keeps_space = false;  // whatever DecodeRules says
  };
  // What a stream must know of the format.
  struct DecodeRules {
    bool strips_first_space = false;  // the space that encoding puts before a text is dropped again
    bool strips_every_space = false;  // ... and so are further ones before the first visible character
    bool replaces_each_byte = false;  // U+FFFD for each byte of what is no character
  };

  explicit Tokenizer(std::string bytes);

  std::vector<Piece> pieces_;
  DecodeRules rules_;
  int32_t bos_ = -1;
  int32_t eos_ = -1;

 private:
  std::string bytes_;
  std::string hash_;
};

// What a file with these bytes is called, in a checkpoint or, after a dot, beside a token file: "tokenizer.json" for a
// tokenizer.json, "tokenizer.model" for a SentencePiece model.
const char* TokenizerFileName(absl::string_view bytes);
inline constexpr const char* kTokenizerFileNames[] = {"tokenizer.model", "tokenizer.json"};

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
  std::string pending_;   // bytes that are no whole character yet
  bool at_start_ = true;  // nothing visible yet
};

}  // namespace photon
