// Text from users to token ids.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/strings/string_view.h"
#include "data/tokenizer.h"

namespace photon {

// Text begins with begin-of-text, as documents do in training.
inline std::vector<int32_t> EncodeWithBos(const Tokenizer& tokenizer, absl::string_view text) {
  std::vector<int32_t> ids = tokenizer.Encode(text);
  if (tokenizer.bos() >= 0) ids.insert(ids.begin(), tokenizer.bos());
  return ids;
}

}  // namespace photon
