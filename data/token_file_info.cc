#include "data/token_file_info.h"

#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "core/file.h"
#include "core/json_depth.h"

namespace photon {

namespace {

absl::Status NotADescription(const std::string& path, absl::string_view why) {
  return absl::InvalidArgumentError(
      absl::StrCat("token file ", path, " does not describe a token file (", why,
                   "): prepare it again, or move this file away if it belongs to something else"));
}

// The library makes an integer of any number, also of one beyond its range, for which C++ defines nothing. Throws where
// there is none.
int64_t Integer(const nlohmann::json& object, const char* key) {
  const nlohmann::json& value = object.at(key);
  if (!value.is_number_float()) return value.get<int64_t>();
  throw nlohmann::json::type_error::create(302, absl::StrCat("\"", key, "\" is ", value.dump(), ", no integer"),
                                           &value);
}

int64_t IntegerOrZero(const nlohmann::json& object, const char* key) {
  return object.contains(key) ? Integer(object, key) : 0;
}

}  // namespace

std::string TokenFileInfo::ToJson() const {
  nlohmann::ordered_json json = {{"format", 1},
                                 {"tokens", tokens},
                                 {"documents", documents},
                                 {"text_bytes", text_bytes},
                                 {"max_id", max_id},
                                 {"vocab_size", vocab_size},
                                 {"bos", bos},
                                 {"eos", eos},
                                 {"tokenizer_hash", tokenizer_hash},
                                 {"unigram_entropy", unigram_entropy},
                                 {"duplicates", duplicates},
                                 {"skipped_lines", skipped_lines},
                                 {"replaced_lines", replaced_lines},
                                 {"sources", nlohmann::ordered_json::object()}};
  for (const auto& [name, count] : sources) {
    nlohmann::ordered_json& source = json["sources"][name];
    source = {{"documents", count.documents}, {"tokens", count.tokens}, {"bytes", count.bytes}};
    if (!count.prefix.empty()) source["prefix"] = count.prefix;
  }
  if (!call.empty()) json["call"] = nlohmann::ordered_json::parse(call);
  return json.dump(2, ' ', /*ensure_ascii=*/false, nlohmann::json::error_handler_t::replace) + "\n";
}

absl::StatusOr<std::optional<TokenFileInfo>> TokenFileInfo::Read(const std::string& prefix) {
  const std::string path = prefix + ".json";
  const absl::StatusOr<std::string> text = ReadFile(path, "token file");
  if (absl::IsNotFound(text.status())) return std::nullopt;
  if (!text.ok()) return text.status();
  if (JsonTooDeep(*text)) return NotADescription(path, absl::StrCat("nests deeper than ", kMostJsonDepth, " levels"));
  TokenFileInfo info;
  try {
    const nlohmann::json json = nlohmann::json::parse(*text);
    for (const char* key : {"tokens", "documents", "tokenizer_hash", "sources"}) {
      if (!json.is_object() || !json.contains(key))
        return NotADescription(path, absl::StrCat("it has no \"", key, "\""));
    }
    info.tokens = Integer(json, "tokens");
    info.documents = Integer(json, "documents");
    info.text_bytes = Integer(json, "text_bytes");
    info.max_id = Integer(json, "max_id");
    info.vocab_size = Integer(json, "vocab_size");
    info.bos = static_cast<int32_t>(Integer(json, "bos"));
    info.eos = static_cast<int32_t>(Integer(json, "eos"));
    json.at("tokenizer_hash").get_to(info.tokenizer_hash);
    json.at("unigram_entropy").get_to(info.unigram_entropy);
    for (const auto& [name, count] : json.at("sources").items()) {
      info.sources[name] = {.documents = Integer(count, "documents"),
                            .tokens = Integer(count, "tokens"),
                            .bytes = IntegerOrZero(count, "bytes"),
                            .prefix = count.value("prefix", std::string())};
    }
    info.duplicates = IntegerOrZero(json, "duplicates");
    if (json.contains("call")) info.call = json.at("call").dump();
    info.skipped_lines = IntegerOrZero(json, "skipped_lines");
    info.replaced_lines = IntegerOrZero(json, "replaced_lines");
  } catch (const nlohmann::json::exception& error) {
    return NotADescription(path, error.what());
  }
  return info;
}

}  // namespace photon
