// Finds added tokens in a text, where they stand, before anything else is done with it: the longest at each place, from
// left to right. Immutable: any thread may use it.
#pragma once

#include <array>
#include <cstdint>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/strings/string_view.h"
#include "data/bpe/spec.h"

namespace photon {

class AddedTokens {
 public:
  explicit AddedTokens(std::vector<AddedToken> tokens);

  // Calls `rest` with what lies between tokens, and `token` with the id of each, in order. `text` is valid UTF-8.
  void Split(absl::string_view text, absl::FunctionRef<void(absl::string_view)> rest,
             absl::FunctionRef<void(int32_t)> token) const;

 private:
  static constexpr int32_t kNone = -1;
  struct Node {
    int32_t token = kNone;                       // that ends here
    std::vector<std::pair<char, int32_t>> next;  // by byte
    int32_t Next(char byte) const;               // kNone where there is none
  };
  // The longest token that `text` begins with, or kNone.
  int32_t Longest(absl::string_view text) const;

  std::vector<AddedToken> tokens_;
  std::vector<Node> trie_;
  std::array<bool, 256> begins_{};  // bytes that a token begins with
};

}  // namespace photon
