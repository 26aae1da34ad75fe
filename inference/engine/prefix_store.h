// Beginnings of prompts that were read, kept for prompts to come: whole units (Decoder::prompt_unit), found by the hash
// of all tokens up to there. The least recently used go when room is wanted.
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <optional>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "inference/decoder.h"

namespace photon {

// What one prompt's units left: the state behind the last of them, and the last encoder's output after each.
struct ReadUnitsOf {
  std::vector<int32_t> tokens;
  DecodingState state;
  std::vector<Tensor> last;  // [units] of [1, D]; empty where none are needed

  int64_t row_bytes() const;  // of `last`
};

class PrefixStore {
 public:
  explicit PrefixStore(const Decoder& decoder) : decoder_(decoder) {}

  // How many of the first tokens of `prompt`, `most` at the most, are kept.
  int64_t Length(absl::Span<const int32_t> prompt, int64_t most) const;
  // Counts that beginning as used now.
  void Touch(absl::Span<const int32_t> prompt, int64_t most);
  // A state of its own behind these; `last` receives their outputs. `tokens` > 0 came from Length.
  DecodingState Copy(absl::Span<const int32_t> prompt, int64_t tokens, std::vector<Tensor>* last);
  // Keeps a copy, unless it is kept already, or takes more than `room` bytes; others go first, so that never more than
  // `room` is held.
  void Keep(const ReadUnitsOf& read, int64_t room);
  // Lets go of prefixes until no more than so many bytes are held.
  void Shrink(int64_t bytes);

  int64_t bytes() const { return bytes_; }

 private:
  struct Entry {
    ReadUnitsOf read;
    int64_t bytes = 0;
    std::vector<uint64_t> hashes;  // [units]
  };
  using Entries = std::list<Entry>;  // the least recently used first

  std::vector<uint64_t> Hashes(absl::Span<const int32_t> tokens) const;
  bool Begins(const Entry& entry, absl::Span<const int32_t> tokens) const;
  // The oldest, or a beginning of what is kept next: no other may be the last that has its beginnings (by_hash_).
  void Drop(Entries::iterator entry);
  void DropBeginningsOf(absl::Span<const int32_t> tokens);
  Entries::iterator Use(absl::Span<const int32_t> beginning);
  Entries::iterator Find(uint64_t hash, absl::Span<const int32_t> tokens) const;

  const Decoder& decoder_;
  mutable Entries entries_;
  absl::flat_hash_map<uint64_t, Entries::iterator> by_hash_;  // of those that have the beginning, the last to go
  int64_t bytes_ = 0;
};

}  // namespace photon
