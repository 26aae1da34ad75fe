#include "data/sentencepiece/tokenizer.h"

#include <cstdlib>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "core/check.h"

namespace photon {
namespace {

constexpr char kSpace[] = "\xE2\x96\x81";          // U+2581, SentencePiece's space
constexpr char kUnknownText[] = " \xE2\x81\x87 ";  // what SentencePiece shows for an unknown piece

}  // namespace

absl::StatusOr<std::shared_ptr<const Tokenizer>> SentencePieceTokenizer::Create(std::string bytes,
                                                                                absl::string_view name) {
  const char* problem = nullptr;
  const SentencePieceApi* api = LoadSentencePiece(&problem);
  if (api == nullptr) return absl::InternalError(absl::StrCat("cannot load the SentencePiece module: ", problem));
  std::string error;
  void* model = bytes.empty() ? nullptr : api->load(bytes.data(), bytes.size(), AppendBytes, &error);
  if (model == nullptr) {
    return absl::InvalidArgumentError(absl::StrCat("tokenizer ", name,
                                                   ": neither a SentencePiece model nor a tokenizer.json (",
                                                   bytes.empty() ? "the file is empty" : error, ")"));
  }
  std::shared_ptr<SentencePieceTokenizer> tokenizer(new SentencePieceTokenizer(std::move(bytes)));
  tokenizer->api_ = api;
  tokenizer->model_ = {model, api->destroy};
  tokenizer->bos_ = api->bos(model);
  tokenizer->eos_ = api->eos(model);
  tokenizer->ReadPieces();
  tokenizer->FindConventions();
  return tokenizer;
}

void SentencePieceTokenizer::ReadPieces() {
  const int32_t size = api_->size(model_.get());
  for (int32_t id = 0; id < size; ++id) {
    std::string text;
    const PieceKind kind = api_->piece(model_.get(), id, AppendBytes, &text);
    if (kind == PieceKind::kControl) text.clear();
    if (kind == PieceKind::kUnknown) text = kUnknownText;
    if (kind == PieceKind::kByte) text = std::string(1, static_cast<char>(std::strtol(text.c_str() + 3, nullptr, 16)));
    if (kind == PieceKind::kText) text = absl::StrReplaceAll(text, {{kSpace, " "}});
    pieces_.push_back({.kind = kind == PieceKind::kByte ? Piece::Kind::kBytes : Piece::Kind::kText,
                       .text = std::move(text),
                       .keeps_space = kind != PieceKind::kText});
  }
}

Vocabulary SentencePieceTokenizer::vocabulary() const {
  Vocabulary vocabulary;
  vocabulary.pieces.resize(vocab_size());
  for (int32_t id = 0; id < static_cast<int32_t>(vocab_size()); ++id) {
    Vocabulary::Piece& piece = vocabulary.pieces[id];
    piece.kind = api_->piece(model_.get(), id, AppendBytes, &piece.text);
    piece.score = api_->score(model_.get(), id);
  }
  return vocabulary;
}

// How the model treats leading spaces and newlines is asked of it: SentencePiece's interface does not show the
// settings.
void SentencePieceTokenizer::FindConventions() {
  rules_.replaces_each_byte = true;
  bool newline_joins = false;
  int32_t spaced = -1;  // a piece that begins with a space
  for (size_t id = 0; id < pieces_.size(); ++id) {
    const Piece& piece = pieces_[id];
    if (piece.kind != Piece::Kind::kText || piece.keeps_space) continue;
    if (piece.text.size() > 1 && absl::StrContains(piece.text, '\n')) newline_joins = true;
    if (spaced < 0 && piece.text[0] == ' ') spaced = static_cast<int32_t>(id);
    if (piece.text == " ") spaced = static_cast<int32_t>(id);
  }
  if (spaced >= 0) {
    rules_.strips_first_space = LibraryDecode({spaced}) != pieces_[spaced].text;
    rules_.strips_every_space = pieces_[spaced].text == " " && LibraryDecode({spaced, spaced}).empty();
  }
  newline_prefix_ = Encode("\n");
  const bool newline_kept = !newline_prefix_.empty() && pieces_[newline_prefix_.back()].text == "\n";
  if (newline_kept) newline_prefix_.pop_back();
  splits_at_newlines_ = newline_kept && !newline_joins && newline_prefix_.size() <= 1 &&
                        Encode("\n\n").size() == newline_prefix_.size() + 2;
}

std::vector<int32_t> SentencePieceTokenizer::Encode(absl::string_view text) const {
  std::vector<int32_t> ids;
  const auto take = [](void* user, const int32_t* data, size_t count) {
    static_cast<std::vector<int32_t>*>(user)->assign(data, data + count);
  };
  PHOTON_CHECK(api_->encode(model_.get(), text.data(), text.size(), take, &ids)) << "SentencePiece refused a text";
  return ids;
}

std::vector<int32_t> SentencePieceTokenizer::EncodeRest(absl::string_view text) const {
  PHOTON_CHECK(splits_at_newlines_ && absl::StartsWith(text, "\n"));
  std::vector<int32_t> ids = Encode(text);
  ids.erase(ids.begin(), ids.begin() + newline_prefix_.size());
  return ids;
}

std::string SentencePieceTokenizer::LibraryDecode(const std::vector<int32_t>& ids) const {
  std::string text;
  PHOTON_CHECK(api_->decode(model_.get(), ids.data(), ids.size(), AppendBytes, &text)) << "SentencePiece refused ids";
  return text;
}

}  // namespace photon
