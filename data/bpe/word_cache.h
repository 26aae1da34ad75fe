// Remembers the ids of words that were encoded before; most words of a text were. Fixed memory (2 MiB), words of up to
// 26 bytes and 9 ids; a word takes the place of another with the same hash. Used by one thread at a time.
#pragma once

#define XXH_INLINE_ALL
#define XXH_VECTOR 0  // words are short; and GCC 12 warns of its own AVX-512 header
#include <xxhash.h>

#include <cstdint>
#include <cstring>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace photon {

class WordCache {
 public:
  static constexpr size_t kLongestWord = 26, kMostIds = 9;

  WordCache() : slots_(kSlots) {}

  // Appends the ids of `word` and is true, where they are known. `word` is not longer than kLongestWord.
  bool Find(absl::string_view word, std::vector<int32_t>* ids) {
    last_ = &slots_[XXH3_64bits(word.data(), word.size()) % kSlots];
    if (last_->length != word.size() || std::memcmp(last_->word, word.data(), word.size()) != 0) return false;
    ids->insert(ids->end(), last_->ids, last_->ids + last_->count);
    return true;
  }

  // Remembers the ids of the word that Find was last asked for.
  void Put(absl::string_view word, absl::Span<const int32_t> ids) {
    if (ids.size() > kMostIds) return;
    last_->length = static_cast<uint8_t>(word.size());
    last_->count = static_cast<uint8_t>(ids.size());
    std::memcpy(last_->word, word.data(), word.size());
    std::memcpy(last_->ids, ids.data(), ids.size() * sizeof(int32_t));
  }

 private:
  static constexpr size_t kSlots = 1 << 15;
  struct alignas(64) Slot {
    uint8_t length = 0;
    uint8_t count = 0;
    char word[kLongestWord];
    int32_t ids[kMostIds];
  };
  static_assert(sizeof(Slot) == 64, "one cache line");

  std::vector<Slot> slots_;
  Slot* last_ = nullptr;
};

}  // namespace photon
