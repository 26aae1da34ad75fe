// Token ids from and to JSON: an array of non-negative integers.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace photon {

// kInvalidArgument naming `name` (the file) and the element for anything but an array of integers from 0 to 2^31 - 1.
// An empty array is fine here.
absl::StatusOr<std::vector<int32_t>> ParseTokenJson(absl::string_view text, const std::string& name);
// The same of a value that has been parsed already.
absl::StatusOr<std::vector<int32_t>> TokensOfJson(const nlohmann::ordered_json& json, const std::string& name);
// kNotFound for a missing file.
absl::StatusOr<std::vector<int32_t>> ReadTokenJson(const std::string& path);

std::string TokenJson(absl::Span<const int32_t> tokens);  // "[1,2,3]"

}  // namespace photon
