#include "data/bpe/added_tokens.h"

#include "data/bpe/unicode.h"
#include "data/utf8.h"

namespace photon {
namespace {

// How many bytes of white space `text` begins or ends with.
size_t LeadingSpace(absl::string_view text) {
  size_t length = 0;
  while (length < text.size()) {
    const Utf8Character c = FirstCharacter(text.substr(length));
    if (!IsWhiteSpace(c.value)) break;
    length += c.bytes;
  }
  return length;
}

size_t TrailingSpace(absl::string_view text) {
  size_t length = 0;
  while (length < text.size()) {
    const Utf8Character c = LastCharacter(text.substr(0, text.size() - length));
    if (!IsWhiteSpace(c.value)) break;
    length += c.bytes;
  }
  return length;
}

bool StandsAlone(absl::string_view text, size_t begin, size_t end) {
  return (begin == 0 || !IsWord(LastCharacter(text.substr(0, begin)).value)) &&
         (end == text.size() || !IsWord(FirstCharacter(text.substr(end)).value));
}

}  // namespace

AddedTokens::AddedTokens(std::vector<AddedToken> tokens) : tokens_(std::move(tokens)), trie_(1) {
  for (size_t i = 0; i < tokens_.size(); ++i) {
    int32_t node = 0;
    begins_[static_cast<uint8_t>(tokens_[i].content[0])] = true;
    for (char byte : tokens_[i].content) {
      int32_t next = trie_[node].Next(byte);
      if (next == kNone) {
        next = static_cast<int32_t>(trie_.size());
        trie_[node].next.emplace_back(byte, next);
        trie_.emplace_back();
      }
      node = next;
    }
    trie_[node].token = static_cast<int32_t>(i);
  }
}

int32_t AddedTokens::Node::Next(char byte) const {
  for (const auto& [candidate, node] : next) {
    if (candidate == byte) return node;
  }
  return kNone;
}

int32_t AddedTokens::Longest(absl::string_view text) const {
  int32_t longest = kNone;
  int32_t node = 0;
  for (char byte : text) {
    node = trie_[node].Next(byte);
    if (node == kNone) break;
    if (trie_[node].token != kNone) longest = trie_[node].token;
  }
  return longest;
}

void AddedTokens::Split(absl::string_view text, absl::FunctionRef<void(absl::string_view)> rest,
                        absl::FunctionRef<void(int32_t)> token) const {
  size_t done = 0;  // what lies before is given out
  for (size_t at = 0; !tokens_.empty() && at < text.size();) {
    const int32_t found = begins_[static_cast<uint8_t>(text[at])] ? Longest(text.substr(at)) : kNone;
    if (found == kNone) {
      ++at;
      continue;
    }
    const AddedToken& added = tokens_[found];
    size_t begin = at, end = at + added.content.size();
    at = end;  // the search goes on here, whatever is made of the match
    if (added.single_word && !StandsAlone(text, begin, end)) continue;
    if (added.lstrip) begin -= TrailingSpace(text.substr(0, begin));
    if (added.rstrip) end += LeadingSpace(text.substr(end));
    if (begin > done) rest(text.substr(done, begin - done));
    token(added.id);
    done = end;  // even where the white space that an earlier token took reached further, as `tokenizers` has it
  }
  if (done < text.size()) rest(text.substr(done));
}

}  // namespace photon
