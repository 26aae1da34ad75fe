#include "launch/json_lines.h"

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/json_depth.h"
#include "core/status.h"
#include "data/utf8.h"
#include "inference/prompt_text.h"
#include "launch/token_json.h"

namespace photon {

absl::Status EncodeLine(const Tokenizer* tokenizer, const std::string& at, JsonLine* line) {
  if (!line->is_text) return absl::OkStatus();
  if (tokenizer == nullptr) {
    return absl::FailedPreconditionError(
        absl::StrCat(at, ": the checkpoint carries no tokenizer; give \"tokens\" instead of \"text\""));
  }
  line->tokens = EncodeWithBos(*tokenizer, line->text);
  return absl::OkStatus();
}

absl::StatusOr<JsonLines> JsonLines::Open(const std::string& path) {
  PHOTON_ASSIGN_OR_RETURN(LineInput input, LineInput::Open(path));
  return JsonLines(std::move(input));
}

std::string JsonLines::At(int64_t number) const { return absl::StrCat(input_.name(), ", line ", number); }

absl::StatusOr<bool> JsonLines::NextObject(JsonObject* object) {
  std::string text;
  PHOTON_ASSIGN_OR_RETURN(const bool more, input_.Next(&text));
  if (!more) return false;
  const std::string at = At(input_.number());
  if (absl::StartsWith(text, "\x1f\x8b")) {
    return absl::InvalidArgumentError(absl::StrCat(at, ": is gzip's: zcat FILE | photon .. --input -"));
  }
  if (const size_t bad = FirstInvalidUtf8(text); bad != text.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat(at, ": byte ", bad + 1,
                     " is not UTF-8; where the whole file is of another encoding: iconv -f latin1 -t utf-8"));
  }
  if (JsonTooDeep(text)) {
    return absl::InvalidArgumentError(absl::StrCat(at, ": nests deeper than ", kMostJsonDepth, " levels"));
  }
  *object = {input_.number(), nlohmann::ordered_json::parse(text, nullptr, /*allow_exceptions=*/false)};
  if (object->json.is_discarded())
    return absl::InvalidArgumentError(absl::StrCat(at, ": not valid JSON (each line is an object of its own)"));
  if (!object->json.is_object()) {
    return absl::InvalidArgumentError(absl::StrCat(at, ": holds ", object->json.type_name(), ", not an object"));
  }
  return true;
}

absl::StatusOr<bool> JsonLines::Next(JsonLine* line) {
  JsonObject object;
  PHOTON_ASSIGN_OR_RETURN(const bool more, NextObject(&object));
  if (!more) return false;
  *line = JsonLine();
  line->number = object.number;
  const std::string at = At(object.number);
  const nlohmann::ordered_json& json = object.json;
  if (json.contains("id")) line->id = json["id"];
  line->end = bytes_read();
  for (const auto& [name, value] : json.items()) {
    if (name != "id" && name != "text" && name != "tokens") line->others.push_back(name);
  }
  if (json.contains("text") == json.contains("tokens")) {
    const std::string found = absl::StrJoin(line->others, ", ");
    return absl::InvalidArgumentError(absl::StrCat(at, ": give either \"text\" or \"tokens\"",
                                                   found.empty() ? "" : "; it has other fields: ", found));
  }
  line->is_text = json.contains("text");
  if (!line->is_text) {
    PHOTON_ASSIGN_OR_RETURN(line->tokens, TokensOfJson(json["tokens"], absl::StrCat(at, ": \"tokens\"")));
    return true;
  }
  if (!json["text"].is_string()) {
    return absl::InvalidArgumentError(absl::StrCat(at, ": \"text\" is ", json["text"].type_name(), ", not a string"));
  }
  line->text = json["text"].get<std::string>();
  return true;
}

}  // namespace photon
