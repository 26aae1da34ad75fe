// Cuts a text into the words that BPE merges within: the pre-tokenisers of a tokenizer.json, one after the other.
// Immutable: any thread may use it, each with a scratch of its own.
#pragma once

#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/strings/string_view.h"
#include "core/status.h"
#include "data/bpe/regex.h"
#include "data/bpe/spec.h"

namespace photon {

class PreTokenizer {
 public:
  static absl::StatusOr<PreTokenizer> Create(const std::vector<SplitStep>& steps);

  // Calls `word` with each, in order. `text` is valid UTF-8.
  void ForEachWord(absl::string_view text, RegexScratch& scratch,
                   absl::FunctionRef<void(absl::string_view)> word) const;

  // Whether a text may be cut between bytes i - 1 and i (0 < i < size), whatever stands elsewhere. False where that is
  // not known: only of the patterns of GPT-2, Llama 3 and Qwen 2, alone or after Digits.
  bool CutsAt(absl::string_view text, size_t i) const;
  bool can_cut() const { return cut_rule_ != CutRule::kNone; }
  // "gpt-2", "llama-bpe" or "qwen2", where that pattern alone cuts texts; else empty.
  const std::string& word_pattern() const { return word_pattern_; }

 private:
  enum class CutRule { kNone, kGpt2, kLlama3 };
  struct KnownPattern {
    const char* name;
    CutRule rule;
    const char* pattern;
  };
  struct Step {
    SplitStep spec;
    std::vector<Regex> regex;  // one, or none where nothing is cut
  };
  // A piece, and the same with stand-ins for characters that PCRE2 doesn't know.
  struct Text {
    absl::string_view real, shown;
    Text Part(size_t begin, size_t end) const {
      return {real.substr(begin, end - begin), shown.substr(begin, end - begin)};
    }
  };
  struct Part;
  struct Walk;
  static const KnownPattern kKnownPatterns[];

  static const KnownPattern* FindKnown(const SplitStep& step);
  void FindCutRule();
  void NameWordPattern();
  void Run(size_t step, Text text, const Walk& walk) const;
  void Split(size_t step, Text text, const Walk& walk) const;

  std::vector<Step> steps_;
  CutRule cut_rule_ = CutRule::kNone;
  bool prefixes_space_ = false;  // a text must then not begin with anything else after a cut
  std::string word_pattern_;
};

}  // namespace photon
