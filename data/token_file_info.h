// PREFIX.json: what `photon prepare` knows about a token file that its own format has no place for.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "core/status.h"

namespace photon {

struct SourceCount {
  int64_t documents = 0;
  int64_t tokens = 0;
};

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
  std::map<std::string, SourceCount> sources;  // by pile_set_name; documents without one are not in it

  std::string ToJson() const;
  // None where PREFIX.json is absent: the file was written by another tool.
  static absl::StatusOr<std::optional<TokenFileInfo>> Read(const std::string& prefix);
};

}  // namespace photon
