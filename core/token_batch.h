// Tokens on their way into a model, and the per-token arrays that follow from how documents lie in them. It stands here
// because both those who fill it (data) and those who consume it (model) need it and neither may include the other.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/types/span.h"

namespace photon {

// `sequences` rows of `length` tokens. Filled by the data loader (training) or from plain ids (scoring).
struct TokenBatch {
  int64_t sequences = 0;
  int64_t length = 0;                   // T
  std::vector<int32_t> tokens;          // [sequences * T]
  std::vector<int32_t> document_begin;  // [sequences * T]: position in its sequence where the token's document begins
  std::vector<uint8_t> real;            // [sequences * T]: 0 for padding
  std::vector<uint8_t> scored;          // [sequences * T]: real, and not the first token of its document

  // Rows [begin, end), copied.
  TokenBatch Sequences(int64_t begin, int64_t end) const;

  // One sequence that is a single document, right-padded (id 0, not real) to a multiple of `align`. `score_first`: the
  // first token is scored too (models with a start latent can).
  static TokenBatch FromIds(absl::Span<const int32_t> ids, int64_t align, bool score_first);
};

}  // namespace photon
