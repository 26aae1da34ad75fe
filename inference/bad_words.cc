#include "inference/bad_words.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "inference/option_error.h"

namespace photon {
namespace {

// Behind a newline, which pieces of words don't hold; empty where one does.
std::vector<int32_t> EncodeInside(const Tokenizer& tokenizer, const std::string& word) {
  const std::vector<int32_t> before = tokenizer.Encode("\n"), all = tokenizer.Encode("\n" + word);
  if (all.size() < before.size() || !std::equal(before.begin(), before.end(), all.begin())) return {};
  return {all.begin() + static_cast<int64_t>(before.size()), all.end()};
}

}  // namespace

absl::StatusOr<std::vector<std::vector<int32_t>>> BadWordTokens(const Tokenizer* tokenizer,
                                                                absl::Span<const std::string> words) {
  std::vector<std::vector<int32_t>> sequences;
  if (words.empty()) return sequences;
  if (tokenizer == nullptr) {
    return OptionError("bad-word",
                       "--bad-word needs a tokenizer, and the checkpoint carries none: ban ids by "
                       "--logit-bias");
  }
  for (const std::string& text : words) {
    const std::string word = text.substr(std::min(text.find_first_not_of(' '), text.size()));
    if (word.empty()) {
      return OptionError("bad-word", "--bad-word holds no character but spaces: give a word");
    }
    for (const std::vector<int32_t>& ids :
         {tokenizer->Encode(word), tokenizer->Encode(absl::StrCat(" ", word)), EncodeInside(*tokenizer, word)}) {
      if (!ids.empty()) sequences.push_back(ids);
    }
  }
  std::sort(sequences.begin(), sequences.end());
  sequences.erase(std::unique(sequences.begin(), sequences.end()), sequences.end());
  return sequences;
}

}  // namespace photon
