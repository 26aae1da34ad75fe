// What a tokenizer.json of byte-level BPE says, read and judged. Its own format has no specification: what is accepted
// here is what the library `tokenizers` (0.23) does with it; what is not is refused by name.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "core/status.h"

namespace photon {

// A pre-tokeniser: cuts every piece of a text at the matches of a regular expression.
struct SplitStep {
  enum class Behavior { kIsolated, kRemoved, kContiguous, kMergedWithPrevious, kMergedWithNext };
  std::string pattern;  // empty: nothing is cut
  Behavior behavior = Behavior::kIsolated;
  bool invert = false;        // matches are what the pattern does not match
  bool prefix_space = false;  // first, put a space before a piece that begins with none
};

struct AddedToken {
  int32_t id = 0;
  std::string content;
  bool special = false;      // gives no text
  bool lstrip = false;       // takes white space before it
  bool rstrip = false;       // ... and after it
  bool single_word = false;  // only where no letter or digit stands next to it
  bool normalized = false;   // is looked for after normalisation
};

struct BpeSpec {
  struct Piece {
    std::string text;  // in the byte alphabet
    int32_t id;
  };
  struct Merge {
    int32_t left, right, result;
  };
  std::vector<Piece> vocab;   // unordered, ids distinct
  std::vector<Merge> merges;  // best first
  std::vector<AddedToken> added;
  std::vector<SplitStep> steps;  // at least one; the last is ByteLevel's
  bool nfc = false;
  bool ignore_merges = false;  // a word that is a piece is that piece, whatever the merges give
  int32_t vocab_size = 0;      // one more than the largest id
  int32_t bos = -1;
  int32_t eos = -1;
};

// The patterns that ByteLevel (GPT-2's) and Digits have.
inline constexpr char kByteLevelPattern[] =
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";
inline constexpr char kDigitsPattern[] = "[\\p{N}\\x{11DE0}-\\x{11DE9}\\x{16FF4}-\\x{16FF6}]";

// kInvalidArgument, with `name` and the field, for what is broken or not supported.
absl::StatusOr<BpeSpec> ReadBpeSpec(absl::string_view json, absl::string_view name);

}  // namespace photon
