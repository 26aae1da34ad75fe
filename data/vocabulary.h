// What a tokenizer's vocabulary consists of, for writers of other formats. Plain C++: data/sentencepiece/api.h, which
// crosses into another linker namespace, uses it too.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace photon {

enum class PieceKind : int32_t {
  kText = 0,
  kControl = 1,  // begin- and end-of-text and the like: gives no text
  kUnknown = 2,
  kByte = 3,   // one byte, for what has no piece
  kAdded = 4,  // found in a text as it stands, before any other rule
  kHole = 5,   // an id that no piece has
};

struct Vocabulary {
  struct Piece {
    std::string text;  // as the tokenizer's file has it: U+2581 for spaces, or byte-level BPE's alphabet
    float score = 0;   // SentencePiece's; 0 for BPE
    PieceKind kind = PieceKind::kText;
  };
  std::vector<Piece> pieces;        // by id
  std::vector<std::string> merges;  // of byte-level BPE, best first: "left right"
  // Of byte-level BPE, how texts are cut into words, where a well-known pattern alone does: "gpt-2", "llama-bpe",
  // "qwen2"; else empty.
  std::string word_pattern;
  bool ignore_merges = false;  // of byte-level BPE: a word that is a piece is that piece, whatever the merges give
};

}  // namespace photon
