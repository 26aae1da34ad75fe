// Numbers as people read them.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"

namespace photon {

std::string HumanBytes(int64_t bytes);  // "999 B", "1.5 MB", powers of 1000
std::string HumanCount(int64_t value);  // "-1,234,567"
// "141GiB", "80 GB", "96e9". kInvalidArgument beginning with `text` and a colon.
absl::StatusOr<int64_t> ParseBytes(const std::string& text);
std::string HumanDuration(double seconds);  // "59s", "3m20s", "27h46m"

}  // namespace photon
