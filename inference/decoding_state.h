// What decoding one sequence keeps between tokens: data, moved forward by a Decoder (inference/decoder.h). Whoever
// serves many sequences holds one of these for each and hands any set of them to the decoder together.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "core/context.h"
#include "model/kv_cache.h"

namespace photon {

// Bytes of keys and values held now.
struct StateBytes {
  int64_t context = 0;  // encoders (or the flat stack): grows with the sequence
  int64_t windows = 0;  // local decoder windows under way: bounded
};

// Memory that a state has: with the room that its caches have left.
struct AllocatedBytes {
  std::vector<int64_t> levels;  // [l - 1]: encoder l's cache (flat: the stack's)
  int64_t windows = 0;
  int64_t rows = 0;  // vectors of single units

  int64_t total() const;
};

struct DecodingState {
  int64_t tokens = 0;  // accepted so far: also the index of the next token
  // Accepted tokens that no stack has read yet: those of the unfinished level-1 unit; the last token in the flat model.
  std::vector<int32_t> chunk;
  std::vector<std::optional<KvCache>> encoders;  // [l - 1]; RecGen drops those below the top. Flat: the one stack
  std::vector<KvCache> windows;                  // [l - 1]: the level-l window under way
  std::vector<Tensor> pending;                   // [l - 1], l >= 2: [C_l, D], X^(l-1) of the unfinished level-l unit
  Tensor top;                                    // [1, D]: X^L of the last whole meta-context, or the start latent
  // [l - 1], l < L, with shift ALL only: [1, D], Xh^l of the level-l unit before the one under way, or the start
  // latent.
  std::vector<Tensor> shifted;
  // [l - 1], l >= 2, with contents RECONSTRUCTED only: [1, D], the level-l window's last output.
  std::vector<Tensor> fed_back;

  StateBytes bytes() const;
  AllocatedBytes allocated() const;
  // An independent state at the same place: one prompt read once, continued more than one way.
  DecodingState Copy(const Context& context) const;
};

}  // namespace photon
