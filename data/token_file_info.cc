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
    json.at("tokens").get_to(info.tokens);
    json.at("documents").get_to(info.documents);
    json.at("text_bytes").get_to(info.text_bytes);
    json.at("max_id").get_to(info.max_id);
    json.at("vocab_size").get_to(info.vocab_size);
    json.at("bos").get_to(info.bos);
    json.at("eos").get_to(info.eos);
    json.at("tokenizer_hash").get_to(info.tokenizer_hash);
    json.at("unigram_entropy").get_to(info.unigram_entropy);
    for (const auto& [name, count] : json.at("sources").items()) {
      info.sources[name] = {.documents = count.at("documents"),
                            .tokens = count.at("tokens"),
                            .bytes = count.value("bytes", int64_t{0}),
                            .prefix = count.value("prefix", std::string())};
    }
    info.duplicates = json.value("duplicates", int64_t{0});
    if (json.contains("call")) info.call = json.at("call").dump();
    info.skipped_lines = json.value("skipped_lines", int64_t{0});
    info.replaced_lines = json.value("replaced_lines", int64_t{0});
  } catch (const nlohmann::json::exception& error) {
    return NotADescription(path, error.what());
  }
  return info;
}

}  // namespace photon
