// Byte-level BPE as a tokenizer: a tokenizer.json of the GPT-2, GPT-NeoX, Llama 3 or Qwen 2 style. Its ids are those of
// the library `tokenizers`: encode(text, add_special_tokens=False).
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "data/bpe/added_tokens.h"
#include "data/bpe/model.h"
#include "data/bpe/pre_tokenizer.h"
#include "data/bpe/spec.h"
#include "data/bpe/word_cache.h"
#include "data/tokenizer.h"

namespace photon {

class BpeTokenizer : public Tokenizer {
 public:
  // From the bytes of a tokenizer.json.
  static absl::StatusOr<std::shared_ptr<const Tokenizer>> Create(std::string bytes, absl::string_view name);

  std::vector<int32_t> Encode(absl::string_view text) const override;
  bool MayCut(absl::string_view text, size_t at) const override { return can_cut_ && pre_tokenizer_.CutsAt(text, at); }
  bool can_cut() const override { return can_cut_; }
  std::vector<int32_t> EncodeRest(absl::string_view text) const override;
  bool splits_at_newlines() const override { return false; }
  Vocabulary vocabulary() const override;

 private:
  // What a call of Encode writes to. Calls take one from a list and put it back, so that caches stay warm; as many
  // are kept as run at once on all cores: a server has a thread a client.
  struct Scratch {
    RegexScratch regex;
    WordCache words;
  };
  class Lease;

  BpeTokenizer(std::string bytes, const BpeSpec& spec, PreTokenizer pre_tokenizer);
  void ReadPieces(const BpeSpec& spec);
  bool TokensStayWhole(const BpeSpec& spec) const;
  void EncodeWord(absl::string_view word, WordCache& cache, std::vector<int32_t>* ids) const;

  const bool nfc_;
  const BpeModel model_;
  const PreTokenizer pre_tokenizer_;
  const AddedTokens literal_;     // looked for in the text as it is
  const AddedTokens normalized_;  // ... as normalisation left it
  bool can_cut_ = false;
  mutable absl::Mutex mutex_;
  mutable std::vector<std::unique_ptr<Scratch>> free_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace photon
