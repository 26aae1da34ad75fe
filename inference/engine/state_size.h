// What a sequence's states may come to take, known before it runs.
#pragma once

#include <cstdint>
#include <vector>

#include "inference/decoder.h"
#include "inference/generate_options.h"

namespace photon {

class StateSize {
 public:
  explicit StateSize(const Decoder& decoder);

  // Bytes that one sequence holds at most, windows of its own and of its mode included.
  int64_t Most(GenerationMode mode, int64_t prompt, int64_t new_tokens) const;
  // The same, from when it goes by meta-contexts on.
  int64_t MostByMetaContexts(GenerationMode mode, int64_t prompt, int64_t new_tokens) const;
  // What is kept of a prompt's units beside states (Decoder::ReadUnits).
  int64_t UnitRows(int64_t prompt) const;

 private:
  // One level; the flat model's stack counts as one.
  struct Level {
    int64_t tokens = 1;     // a position's
    int64_t bytes = 0;      // a position's
    int64_t positions = 0;  // that a bounded cache holds; 0: it grows
    int64_t window = 0;     // bytes
  };
  // Caches of the levels from the one with index `first` on.
  int64_t Caches(int64_t tokens, size_t first) const;

  std::vector<Level> levels_;
  int64_t windows_ = 0, meta_windows_ = 0;  // of hier; of the modes that go by meta-contexts
  int64_t rows_ = 0;
  int64_t meta_ = 1;      // tokens of a meta-context
  int64_t unit_row_ = 0;  // bytes; 0: none are needed
};

}  // namespace photon
