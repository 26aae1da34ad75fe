// Which tokens a sequence holds and how often: what penalties count.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/types/span.h"

namespace photon {

class TokenHistory {
 public:
  struct Entry {
    int32_t token;
    int32_t generated;  // how often it was chosen; 0: it stands in the prompt alone
  };

  void AddPrompt(absl::Span<const int32_t> tokens);
  void AddGenerated(int32_t token);
  // The different tokens, in the order in which they came first.
  absl::Span<const Entry> entries() const { return entries_; }
  int32_t generated(int32_t token) const;  // how often it was chosen; 0 for any other token

 private:
  Entry& At(int32_t token);

  std::vector<Entry> entries_;
  absl::flat_hash_map<int32_t, int32_t> index_;  // token -> place in entries_
};

}  // namespace photon
