#include "launch/token_json.h"

#include <filesystem>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/file.h"
#include "core/json_depth.h"

namespace photon {
namespace {

// The value as it stands in the file, cut to a length that fits a message.
std::string Shown(const nlohmann::ordered_json& value) {
  std::string text = value.dump(-1, ' ', /*ensure_ascii=*/true, nlohmann::json::error_handler_t::replace);
  constexpr size_t kLongest = 40;
  if (text.size() > kLongest) text = text.substr(0, kLongest) + "..";
  return text;
}

}  // namespace

absl::StatusOr<std::vector<int32_t>> ParseTokenJson(absl::string_view text, const std::string& name) {
  if (JsonTooDeep(text)) {
    return absl::InvalidArgumentError(absl::StrCat(name, ": nests deeper than ", kMostJsonDepth, " levels"));
  }
  const auto json = nlohmann::ordered_json::parse(text.begin(), text.end(), nullptr, /*allow_exceptions=*/false);
  if (json.is_discarded()) {
    return absl::InvalidArgumentError(
        absl::StrCat(name, ": not valid JSON; give an array of token ids, as in [1, 2, 3]"));
  }
  return TokensOfJson(json, name);
}

absl::StatusOr<std::vector<int32_t>> TokensOfJson(const nlohmann::ordered_json& json, const std::string& name) {
  if (!json.is_array()) {
    return absl::InvalidArgumentError(
        absl::StrCat(name, ": holds ", json.type_name(), ", not an array of token ids, as in [1, 2, 3]"));
  }
  std::vector<int32_t> tokens;
  tokens.reserve(json.size());
  for (const nlohmann::ordered_json& value : json) {
    if (!value.is_number_unsigned() || value.get<uint64_t>() > INT32_MAX) {
      return absl::InvalidArgumentError(absl::StrCat(name, ": element ", tokens.size(), " (counted from 0) is ",
                                                     Shown(value), "; token ids are integers from 0 to ", INT32_MAX));
    }
    tokens.push_back(value.get<int32_t>());
  }
  return tokens;
}

absl::StatusOr<std::vector<int32_t>> ReadTokenJson(const std::string& path) {
  std::error_code error;  // what else is wrong with the path, reading tells
  if (std::filesystem::is_directory(path, error)) {
    return absl::InvalidArgumentError(absl::StrCat("token file ", path, ": is a folder; name a JSON file"));
  }
  PHOTON_ASSIGN_OR_RETURN(const std::string text, ReadFile(path, "token file"));
  return ParseTokenJson(text, absl::StrCat("token file ", path));
}

std::string TokenJson(absl::Span<const int32_t> tokens) { return absl::StrCat("[", absl::StrJoin(tokens, ","), "]"); }

}  // namespace photon
