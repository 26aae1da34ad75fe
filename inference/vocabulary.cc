#include "inference/vocabulary.h"

#include "absl/strings/str_cat.h"

namespace photon {

absl::Status CheckTokenIds(absl::Span<const int32_t> ids, int32_t vocab_size, const std::string& what) {
  for (size_t i = 0; i < ids.size(); ++i) {
    if (ids[i] >= 0 && ids[i] < vocab_size) continue;
    return absl::InvalidArgumentError(absl::StrCat(what, ": token ", i, " is ", ids[i],
                                                   ", but the model's vocabulary has ids 0 to ", vocab_size - 1));
  }
  return absl::OkStatus();
}

}  // namespace photon
