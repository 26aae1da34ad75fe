#include "launch/gguf_vocabulary.h"

#include <google/protobuf/unknown_field_set.h>

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "data/tokenizer.h"

namespace photon {
namespace {

using google::protobuf::UnknownField;
using google::protobuf::UnknownFieldSet;

absl::Status Refuse(absl::string_view name, absl::string_view reason) {
  return absl::FailedPreconditionError(
      absl::StrCat(name, ": ", reason, "; export the weights alone with --tokenizer none"));
}

// The last field of that number counts, as protobuf has it; null where there is none.
const UnknownField* Find(const UnknownFieldSet& message, int number, UnknownField::Type type) {
  const UnknownField* found = nullptr;
  for (int i = 0; i < message.field_count(); ++i) {
    if (message.field(i).number() == number && message.field(i).type() == type) found = &message.field(i);
  }
  return found;
}

// ModelProto.trainer_spec.model_type of sentencepiece_model.proto. The library's interface doesn't show it, and its own
// schema can't be linked here (data/sentencepiece/api.h says why): the message is read without one.
bool IsSentencePieceBpe(absl::string_view bytes) {
  constexpr int kTrainerSpec = 2, kModelType = 3;
  constexpr uint64_t kBpe = 2;
  UnknownFieldSet model, trainer;
  if (!model.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) return false;
  const UnknownField* spec = Find(model, kTrainerSpec, UnknownField::TYPE_LENGTH_DELIMITED);
  if (spec == nullptr || !trainer.ParseFromString(spec->length_delimited())) return false;
  const UnknownField* type = Find(trainer, kModelType, UnknownField::TYPE_VARINT);
  return type != nullptr && type->varint() == kBpe;
}

GgufVocabulary::Type TypeOf(PieceKind kind) {
  switch (kind) {
    case PieceKind::kText:
      return GgufVocabulary::kNormal;
    case PieceKind::kControl:
      return GgufVocabulary::kControl;
    case PieceKind::kUnknown:
      return GgufVocabulary::kUnknown;
    case PieceKind::kByte:
      return GgufVocabulary::kByte;
    case PieceKind::kAdded:
      return GgufVocabulary::kUserDefined;
    case PieceKind::kHole:
      return GgufVocabulary::kUnused;
  }
  return GgufVocabulary::kUnused;
}

// What goes before a text that begins with a letter: whether it becomes a space.
bool AddsSpace(const Tokenizer& tokenizer, const Vocabulary& vocabulary) {
  const std::vector<int32_t> ids = tokenizer.Encode("a");
  return !ids.empty() && vocabulary.merges.empty() && absl::StartsWith(vocabulary.pieces[ids[0]].text, "\u2581");
}

absl::Status CheckSentencePiece(absl::string_view bytes, absl::string_view name, const GgufVocabulary& vocabulary) {
  if (!IsSentencePieceBpe(bytes)) {
    return Refuse(name, "the SentencePiece model is not of type BPE, and llama.cpp would cut texts differently");
  }
  if (std::count(vocabulary.types.begin(), vocabulary.types.end(), GgufVocabulary::kByte) == 256) {
    return absl::OkStatus();
  }
  return Refuse(name, "the SentencePiece model lacks byte pieces, without which llama.cpp fails on unknown characters");
}

// What llama.cpp calls a way of cutting words. The name also says whether merges are ignored for words that are pieces.
struct PreTokenizerName {
  const char* word_pattern;
  bool ignore_merges;
  const char* name;
};
constexpr PreTokenizerName kPreTokenizerNames[] = {{"gpt-2", false, "gpt-2"},
                                                   {"llama-bpe", true, "llama-bpe"},
                                                   {"llama-bpe", false, "dbrx"},
                                                   {"qwen2", false, "qwen2"}};

// Empty where it has no name.
std::string PreTokenizerOf(const Vocabulary& vocabulary) {
  for (const PreTokenizerName& known : kPreTokenizerNames) {
    if (vocabulary.word_pattern == known.word_pattern && vocabulary.ignore_merges == known.ignore_merges) {
      return known.name;
    }
  }
  return "";
}

absl::Status CheckBpe(absl::string_view bytes, absl::string_view name, const Tokenizer& tokenizer,
                      const Vocabulary& vocabulary) {
  if (vocabulary.word_pattern.empty()) {
    return Refuse(name, "how it cuts texts into words is no pattern that llama.cpp has a name for");
  }
  if (PreTokenizerOf(vocabulary).empty()) {
    return Refuse(name, absl::StrCat("it has ignore_merges, which llama.cpp hasn't with words cut as by ",
                                     vocabulary.word_pattern));
  }
  const nlohmann::json json = nlohmann::json::parse(bytes.begin(), bytes.end(), nullptr, /*allow_exceptions=*/false);
  if (json.is_object() && json.contains("normalizer") && !json["normalizer"].is_null()) {
    return Refuse(name, "it normalizes texts, which llama.cpp doesn't");
  }
  if (tokenizer.Encode("a") == tokenizer.Encode(" a")) {
    return Refuse(name, "it puts a space before texts, which llama.cpp doesn't");
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<GgufVocabulary> GgufVocabularyOf(absl::string_view bytes, absl::string_view name) {
  PHOTON_ASSIGN_OR_RETURN(const std::shared_ptr<const Tokenizer> tokenizer,
                          Tokenizer::FromBytes(std::string(bytes), name));
  const Vocabulary own = tokenizer->vocabulary();
  const bool bpe = !own.merges.empty();
  GgufVocabulary vocabulary;
  vocabulary.model = bpe ? "gpt2" : "llama";
  vocabulary.pre_tokenizer = PreTokenizerOf(own);
  for (const Vocabulary::Piece& piece : own.pieces) {
    const auto id = static_cast<int32_t>(vocabulary.pieces.size());
    if (piece.kind == PieceKind::kUnknown) vocabulary.unknown = id;
    vocabulary.pieces.push_back(piece.kind == PieceKind::kHole ? absl::StrCat("[PAD", id, "]") : piece.text);
    vocabulary.types.push_back(TypeOf(piece.kind));
    if (!bpe) vocabulary.scores.push_back(piece.score);
  }
  vocabulary.merges = own.merges;
  vocabulary.bos = tokenizer->bos();
  vocabulary.eos = tokenizer->eos();
  vocabulary.add_space_prefix = AddsSpace(*tokenizer, own);
  PHOTON_RETURN_IF_ERROR(bpe ? CheckBpe(bytes, name, *tokenizer, own) : CheckSentencePiece(bytes, name, vocabulary));
  return vocabulary;
}

}  // namespace photon
