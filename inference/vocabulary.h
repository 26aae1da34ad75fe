// Checking token ids that come from outside.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/types/span.h"

namespace photon {

// kInvalidArgument naming `what`, the place and the id, for an id outside [0, vocab_size).
absl::Status CheckTokenIds(absl::Span<const int32_t> ids, int32_t vocab_size, const std::string& what);

}  // namespace photon
