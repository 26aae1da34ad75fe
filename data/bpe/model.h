// Byte pair encoding of one word: starting from its bytes, the two neighbours whose merge ranks best become one piece,
// the leftmost first, until no merge applies (Sennrich et al. 2016, arXiv 1508.07909). O(n log n) for n bytes.
// Immutable: any thread may use it.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/string_view.h"
#include "data/bpe/spec.h"

namespace photon {

class BpeModel {
 public:
  // `spec` is as ReadBpeSpec judged it: every byte of UTF-8 has a piece.
  explicit BpeModel(const BpeSpec& spec);

  // Appends the ids of `word` (bytes) to `ids`.
  void Encode(absl::string_view word, std::vector<int32_t>* ids) const;

 private:
  struct Merge {
    uint32_t rank;
    int32_t result;
  };
  static constexpr uint32_t kNoMerge = UINT32_MAX;
  Merge Find(int32_t left, int32_t right) const;
  void EncodeShort(absl::string_view word, std::vector<int32_t>* ids) const;
  void EncodeLong(absl::string_view word, std::vector<int32_t>* ids) const;

  std::array<int32_t, 256> bytes_{};  // -1: occurs in no UTF-8 text
  absl::flat_hash_map<uint64_t, Merge> merges_;
  absl::flat_hash_map<std::string, int32_t> whole_words_;  // where merges are ignored for words that are pieces
};

}  // namespace photon
