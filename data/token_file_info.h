// PREFIX.json: what `photon prepare` knows about a token file that its own format has no place for.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "core/status.h"

namespace photon {

// The documents of one source (pile_set_name).
struct SourceCount {
  int64_t documents = 0;
  int64_t tokens = 0;
  int64_t bytes = 0;   // of text
  std::string prefix;  // of its own token file, relative to the folder of PREFIX.json; empty: it has none
};

// What documents without a source are counted as, where others have one.
inline constexpr char kNoSource[] = "none";

struct TokenFileInfo {
  int64_t tokens = 0;
  int64_t documents = 0;
  int64_t text_bytes = 0;
  int64_t max_id = 0;
  int64_t vocab_size = 0;  // of the tokenizer
  int32_t bos = 0;
  int32_t eos = 0;
  std::string tokenizer_hash;
  double unigram_entropy = 0;                  // nats per token, over all but the begin-of-texts
  std::map<std::string, SourceCount> sources;  // by pile_set_name; empty where no document has one
  int64_t duplicates = 0;                      // documents left out because they had been there
  int64_t skipped_lines = 0;                   // bad lines that were left out
  int64_t replaced_lines = 0;                  // ... that were mended
  std::string call = {};                       // how it was made: TextOf(PrepareCall); empty for the parts of a set

  // Every source has a token file of its own, and PREFIX itself none.
  bool split() const { return !sources.empty() && !sources.begin()->second.prefix.empty(); }

  std::string ToJson() const;
  // None where PREFIX.json is absent: the file was written by another tool.
  static absl::StatusOr<std::optional<TokenFileInfo>> Read(const std::string& prefix);
};

}  // namespace photon
