#include "data/tokenizer.h"

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "core/checksum.h"
#include "core/file.h"
#include "data/bpe/tokenizer.h"
#include "data/sentencepiece/tokenizer.h"
#include "data/utf8.h"

namespace photon {
namespace {

// A SentencePiece model begins with a newline (of Protobuf) and the length of the first piece.
bool IsJson(absl::string_view bytes) {
  const size_t first = bytes.find_first_not_of(" \t\r\n");
  return first != absl::string_view::npos && bytes[first] == '{';
}

}  // namespace

Tokenizer::Tokenizer(std::string bytes) : bytes_(std::move(bytes)), hash_(Checksum(bytes_)) {}

absl::StatusOr<std::shared_ptr<const Tokenizer>> Tokenizer::FromFile(const std::string& path) {
  PHOTON_ASSIGN_OR_RETURN(std::string bytes, ReadFile(path, "tokenizer"));
  return FromBytes(std::move(bytes), path);
}

absl::StatusOr<std::shared_ptr<const Tokenizer>> Tokenizer::FromBytes(std::string bytes, absl::string_view name) {
  if (IsJson(bytes)) return BpeTokenizer::Create(std::move(bytes), name);
  return SentencePieceTokenizer::Create(std::move(bytes), name);
}

const char* TokenizerFileName(absl::string_view bytes) { return kTokenizerFileNames[IsJson(bytes) ? 1 : 0]; }

size_t Tokenizer::FindCut(absl::string_view text, size_t from) const {
  for (size_t at = std::max<size_t>(from, 1); can_cut() && at < text.size(); ++at) {
    if (MayCut(text, at)) return at;
  }
  return absl::string_view::npos;
}

std::string Tokenizer::Decode(absl::Span<const int32_t> ids) const {
  TextStream stream(this);
  std::string text;
  for (int32_t id : ids) text += stream.Push(id);
  return text + stream.Finish();
}

absl::string_view Tokenizer::Bytes(int32_t id) const {
  return id < 0 || id >= vocab_size() ? absl::string_view() : absl::string_view(pieces_[id].text);
}

std::string TextStream::Push(int32_t id) {
  if (id < 0 || id >= tokenizer_->vocab_size()) return "";
  const Tokenizer::Piece& piece = tokenizer_->pieces_[id];
  const Tokenizer::DecodeRules& rules = tokenizer_->rules_;
  if (piece.kind == Tokenizer::Piece::Kind::kBytes) {
    pending_ += piece.text;
    return TakeCharacters(/*all=*/false);
  }
  std::string text = TakeCharacters(/*all=*/true);
  absl::string_view visible = piece.text;
  if (at_start_ && rules.strips_first_space && absl::StartsWith(visible, " ") && !piece.keeps_space) {
    visible.remove_prefix(1);
    if (!rules.strips_every_space) at_start_ = false;
  }
  if (!visible.empty()) at_start_ = false;
  return absl::StrCat(text, visible);
}

std::string TextStream::Finish() { return TakeCharacters(/*all=*/true); }

std::string TextStream::TakeCharacters(bool all) {
  std::string text;
  const absl::string_view pending = pending_;
  size_t at = 0;
  while (at < pending.size()) {
    const absl::string_view rest = pending.substr(at);
    const int length = Utf8Length(rest);
    if (length == kUtf8Incomplete && !all) break;
    if (length > 0) {
      text.append(rest.data(), length);
      at += length;
    } else {
      text += kUtf8Replacement;
      at += tokenizer_->rules_.replaces_each_byte ? 1 : Utf8InvalidLength(rest);
    }
  }
  pending_.erase(0, at);
  if (!text.empty()) at_start_ = false;
  return text;
}

}  // namespace photon
