#include "data/bpe/tokenizer.h"

#include <algorithm>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/check.h"
#include "data/bpe/byte_alphabet.h"
#include "data/bpe/unicode.h"
#include "data/utf8.h"

namespace photon {
namespace {

// The added tokens that are looked for before or after normalisation, in the form in which they are looked for.
std::vector<AddedToken> Select(const BpeSpec& spec, bool normalized) {
  std::vector<AddedToken> tokens;
  for (AddedToken token : spec.added) {
    if (token.normalized != normalized) continue;
    std::string form;
    if (normalized && spec.nfc && NormalizeNfc(token.content, &form)) token.content = form;
    tokens.push_back(std::move(token));
  }
  return tokens;
}

}  // namespace

class BpeTokenizer::Lease {
 public:
  explicit Lease(const BpeTokenizer& owner) : owner_(owner) {
    {
      const absl::MutexLock lock(&owner_.mutex_);
      if (!owner_.free_.empty()) {
        scratch_ = std::move(owner_.free_.back());
        owner_.free_.pop_back();
      }
    }
    if (scratch_ == nullptr) scratch_ = std::make_unique<Scratch>();
  }
  ~Lease() {
    static const size_t most = std::max(std::thread::hardware_concurrency(), 1u);
    const absl::MutexLock lock(&owner_.mutex_);
    if (owner_.free_.size() < most) owner_.free_.push_back(std::move(scratch_));
  }
  Lease(const Lease&) = delete;
  Lease& operator=(const Lease&) = delete;
  Scratch& operator*() const { return *scratch_; }

 private:
  const BpeTokenizer& owner_;
  std::unique_ptr<Scratch> scratch_;
};

absl::StatusOr<std::shared_ptr<const Tokenizer>> BpeTokenizer::Create(std::string bytes, absl::string_view name) {
  PHOTON_ASSIGN_OR_RETURN(const BpeSpec spec, ReadBpeSpec(bytes, name));
  absl::StatusOr<PreTokenizer> pre_tokenizer = PreTokenizer::Create(spec.steps);
  if (!pre_tokenizer.ok()) {
    return absl::InvalidArgumentError(
        absl::StrCat("tokenizer ", name, ": pre_tokenizer: ", pre_tokenizer.status().message()));
  }
  return std::shared_ptr<const Tokenizer>(new BpeTokenizer(std::move(bytes), spec, *std::move(pre_tokenizer)));
}

BpeTokenizer::BpeTokenizer(std::string bytes, const BpeSpec& spec, PreTokenizer pre_tokenizer)
    : Tokenizer(std::move(bytes)),
      nfc_(spec.nfc),
      model_(spec),
      pre_tokenizer_(std::move(pre_tokenizer)),
      literal_(Select(spec, /*normalized=*/false)),
      normalized_(Select(spec, /*normalized=*/true)) {
  bos_ = spec.bos;
  eos_ = spec.eos;
  ReadPieces(spec);
  can_cut_ = pre_tokenizer_.can_cut() && TokensStayWhole(spec);
}

void BpeTokenizer::ReadPieces(const BpeSpec& spec) {
  pieces_.assign(spec.vocab_size, {.kind = Piece::Kind::kBytes, .text = ""});
  for (const BpeSpec::Piece& piece : spec.vocab) {
    pieces_[piece.id].text = FromByteAlphabet(piece.text).value_or(piece.text);
  }
  for (const bool normalized : {false, true}) {
    for (const AddedToken& token : Select(spec, normalized)) {
      pieces_[token.id].text = token.special ? "" : token.content;
    }
  }
}

// Whether no added token can stand across a cut, or look past it for white space.
bool BpeTokenizer::TokensStayWhole(const BpeSpec& spec) const {
  return std::none_of(spec.added.begin(), spec.added.end(), [this](const AddedToken& token) {
    if (token.lstrip || token.rstrip) return true;
    for (size_t i = 1; i < token.content.size(); ++i) {
      if (pre_tokenizer_.CutsAt(token.content, i)) return true;
    }
    return false;
  });
}

std::vector<int32_t> BpeTokenizer::Encode(absl::string_view text) const {
  std::string valid;
  if (FirstInvalidUtf8(text) != text.size()) {
    valid = ReplaceInvalidUtf8(text);
    text = valid;
  }
  std::vector<int32_t> ids;
  ids.reserve(text.size() / 3);
  const Lease lease(*this);
  Scratch& scratch = *lease;
  const auto add_word = [&](absl::string_view word) { EncodeWord(word, scratch.words, &ids); };
  const auto add_token = [&](int32_t id) { ids.push_back(id); };
  const auto add_text = [&](absl::string_view part) { pre_tokenizer_.ForEachWord(part, scratch.regex, add_word); };
  const auto add_raw_text = [&](absl::string_view part) {
    std::string form;
    if (nfc_ && NormalizeNfc(part, &form)) part = form;
    normalized_.Split(part, add_text, add_token);
  };
  literal_.Split(text, add_raw_text, add_token);
  return ids;
}

std::vector<int32_t> BpeTokenizer::EncodeRest(absl::string_view text) const {
  PHOTON_CHECK(can_cut_);
  return Encode(text);  // cuts lie where nothing depends on what came before
}

void BpeTokenizer::EncodeWord(absl::string_view word, WordCache& cache, std::vector<int32_t>* ids) const {
  if (word.size() > WordCache::kLongestWord) {
    model_.Encode(word, ids);
    return;
  }
  if (cache.Find(word, ids)) return;
  const size_t before = ids->size();
  model_.Encode(word, ids);
  cache.Put(word, absl::MakeConstSpan(*ids).subspan(before));
}

Vocabulary BpeTokenizer::vocabulary() const {
  const absl::StatusOr<BpeSpec> spec = ReadBpeSpec(bytes(), "");
  PHOTON_CHECK(spec.ok()) << "was read before";
  Vocabulary vocabulary;
  vocabulary.pieces.assign(vocab_size(), {.text = "", .score = 0, .kind = PieceKind::kHole});
  for (const BpeSpec::Piece& piece : spec->vocab) vocabulary.pieces[piece.id] = {piece.text, 0, PieceKind::kText};
  for (const BpeSpec::Merge& merge : spec->merges) {
    vocabulary.merges.push_back(
        absl::StrCat(vocabulary.pieces[merge.left].text, " ", vocabulary.pieces[merge.right].text));
  }
  for (const AddedToken& token : spec->added) {
    vocabulary.pieces[token.id] = {token.content, 0, token.special ? PieceKind::kControl : PieceKind::kAdded};
  }
  vocabulary.word_pattern = pre_tokenizer_.word_pattern();
  vocabulary.ignore_merges = spec->ignore_merges;
  return vocabulary;
}

}  // namespace photon
