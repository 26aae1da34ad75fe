#include "data/bpe/spec.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "core/json_depth.h"
#include "data/bpe/byte_alphabet.h"

namespace photon {
namespace {

using Json = nlohmann::json;

constexpr int64_t kLargestId = (1 << 24) - 1;
constexpr int64_t kMostHoles = 1 << 18;  // ids without a piece take memory too

// What begin- and end-of-text are called, where the post-processor doesn't say.
constexpr const char* kBosNames[] = {"<|begin_of_text|>",      "<|startoftext|>", "<|bos|>", "<s>", "<bos>", "[BOS]",
                                     "<｜begin▁of▁sentence｜>"};
constexpr const char* kEosNames[] = {"<|end_of_text|>", "<|endoftext|>",        "<|eos|>", "</s>", "<eos>",
                                     "[EOS]",           "<｜end▁of▁sentence｜>"};

template <typename... Parts>
absl::Status Error(const Parts&... parts) {
  return absl::InvalidArgumentError(absl::StrCat(parts...));
}

// A field that may be absent or null.
const Json& Field(const Json& object, const char* name) {
  static const Json null;
  const auto found = object.is_object() ? object.find(name) : object.end();
  return found == object.end() ? null : *found;
}

bool Flag(const Json& object, const char* name, bool otherwise = false) {
  const Json& value = Field(object, name);
  return value.is_boolean() ? value.get<bool>() : otherwise;
}

std::string Text(const Json& object, const char* name) {
  const Json& value = Field(object, name);
  return value.is_string() ? value.get<std::string>() : "";
}

// "a, b or c"
template <typename Names>
absl::Status TypeError(absl::string_view field, const Json& value, const Names& known) {
  const Json& type = Field(value, "type");
  return Error(field, " is ", type.is_string() ? type.dump() : "of no known type", ": supported are ", known);
}

class SpecReader {
 public:
  explicit SpecReader(const Json& root) : root_(root) {}

  absl::StatusOr<BpeSpec> Read() {
    PHOTON_RETURN_IF_ERROR(ReadModel());
    PHOTON_RETURN_IF_ERROR(ReadAddedTokens());
    if (const int64_t holes = spec_.vocab_size - static_cast<int64_t>(pieces_.size()); holes > kMostHoles) {
      return Error("the largest id is ", spec_.vocab_size - 1, ", and ", holes,
                   " of the ids below have no piece: ", kMostHoles, " may have none");
    }
    PHOTON_RETURN_IF_ERROR(ReadNormalizer(Field(root_, "normalizer")));
    PHOTON_RETURN_IF_ERROR(ReadPreTokenizer(Field(root_, "pre_tokenizer")));
    if (!has_byte_level_) {
      return Error("pre_tokenizer has no ByteLevel: only byte-level BPE is supported");
    }
    PHOTON_RETURN_IF_ERROR(CheckDecoder(Field(root_, "decoder")));
    PHOTON_RETURN_IF_ERROR(ReadPostProcessor(Field(root_, "post_processor")));
    for (const char* name : kBosNames) Default(name, &spec_.bos);
    for (const char* name : kEosNames) Default(name, &spec_.eos);
    return std::move(spec_);
  }

 private:
  absl::Status ReadModel();
  absl::Status ReadVocab(const Json& vocab);
  absl::Status ReadMerges(const Json& merges);
  absl::Status ReadAddedTokens();
  absl::Status ReadNormalizer(const Json& json);
  absl::Status ReadPreTokenizer(const Json& json);
  absl::Status ReadSplit(const Json& json);
  absl::Status CheckDecoder(const Json& json) const;
  absl::Status ReadPostProcessor(const Json& json);
  absl::Status TakeId(int64_t id, const std::string& piece);
  std::optional<int32_t> Find(const std::string& piece) const {
    const auto found = ids_.find(piece);
    return found == ids_.end() ? std::nullopt : std::optional(found->second);
  }
  void Default(const char* name, int32_t* id) const {
    if (*id < 0) *id = Find(name).value_or(-1);
  }

  const Json& root_;
  BpeSpec spec_;
  absl::flat_hash_map<std::string, int32_t> ids_;     // of pieces and added tokens
  absl::flat_hash_map<int32_t, std::string> pieces_;  // by id
  bool has_byte_level_ = false;
};

absl::Status SpecReader::TakeId(int64_t id, const std::string& piece) {
  if (id < 0 || id > kLargestId) {
    return Error("the piece ", Json(piece).dump(), " has id ", id, ": ids go from 0 to ", kLargestId);
  }
  const auto [other, is_new] = pieces_.emplace(static_cast<int32_t>(id), piece);
  if (!is_new) {
    return Error("the pieces ", Json(other->second).dump(), " and ", Json(piece).dump(), " both have id ", id);
  }
  ids_.emplace(piece, static_cast<int32_t>(id));
  spec_.vocab_size = std::max(spec_.vocab_size, static_cast<int32_t>(id + 1));
  return absl::OkStatus();
}

absl::Status SpecReader::ReadModel() {
  const Json& model = Field(root_, "model");
  if (!model.is_object()) return Error("there is no model");
  // Older files leave out the type.
  if (!Field(model, "type").is_null() && Text(model, "type") != "BPE") return TypeError("model", model, "BPE");
  if (Flag(model, "byte_fallback")) {
    return Error("model.byte_fallback is set: only byte-level BPE is supported; give the SentencePiece model instead");
  }
  for (const char* name : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    if (!Text(model, name).empty()) return Error("model.", name, " is not supported");
  }
  const Json& dropout = Field(model, "dropout");
  if (!dropout.is_null() && dropout != 0.0) return Error("model.dropout is not supported: set it to null");
  spec_.ignore_merges = Flag(model, "ignore_merges");
  PHOTON_RETURN_IF_ERROR(ReadVocab(Field(model, "vocab")));
  return ReadMerges(Field(model, "merges"));
}

absl::Status SpecReader::ReadVocab(const Json& vocab) {
  if (!vocab.is_object()) return Error("model.vocab is not an object of pieces and ids");
  std::array<bool, 256> bytes{};
  for (const auto& [piece, id] : vocab.items()) {
    if (!id.is_number_integer()) return Error("model.vocab: the id of ", Json(piece).dump(), " is not an integer");
    PHOTON_RETURN_IF_ERROR(TakeId(id.get<int64_t>(), piece));
    spec_.vocab.push_back({piece, id.get<int32_t>()});
    const auto text = FromByteAlphabet(piece);
    if (text.has_value() && text->size() == 1) bytes[static_cast<uint8_t>((*text)[0])] = true;
  }
  for (int byte = 0; byte < 256; ++byte) {
    const bool in_utf8 = byte != 0xC0 && byte != 0xC1 && byte <= 0xF4;
    if (in_utf8 && !bytes[byte]) {
      return Error("model.vocab has no piece for the byte 0x", absl::Hex(byte, absl::kZeroPad2),
                   ": texts that hold it could not be encoded (train with ByteLevel's alphabet as initial_alphabet)");
    }
  }
  return absl::OkStatus();
}

absl::Status SpecReader::ReadMerges(const Json& merges) {
  if (!merges.is_array()) return Error("model.merges is not an array");
  for (const Json& merge : merges) {
    std::vector<std::string> pair;
    if (merge.is_string()) {
      const auto& text = merge.get_ref<const std::string&>();
      if (absl::string_view(text).substr(0, 8) == "#version") continue;  // a line that merges.txt begins with
      pair = absl::StrSplit(text, ' ');
    } else if (merge.is_array() && std::all_of(merge.begin(), merge.end(), [](auto& j) { return j.is_string(); })) {
      pair = merge.get<std::vector<std::string>>();
    }
    const auto where = [&] { return absl::StrCat("model.merges[", spec_.merges.size(), "] (", merge.dump(), ")"); };
    if (pair.size() != 2) return Error(where(), " is not a pair of pieces");
    for (const std::string& piece : {pair[0], pair[1], pair[0] + pair[1]}) {
      if (!Find(piece).has_value())
        return Error(where(), " names the piece ", Json(piece).dump(), ", which model.vocab lacks");
    }
    spec_.merges.push_back({*Find(pair[0]), *Find(pair[1]), *Find(pair[0] + pair[1])});
  }
  return absl::OkStatus();
}

absl::Status SpecReader::ReadAddedTokens() {
  const Json& tokens = Field(root_, "added_tokens");
  if (tokens.is_null()) return absl::OkStatus();
  if (!tokens.is_array()) return Error("added_tokens is not an array");
  absl::flat_hash_map<std::string, bool> seen;
  for (const Json& json : tokens) {
    const Json& id = Field(json, "id");
    if (!id.is_number_integer() || !Field(json, "content").is_string()) {
      return Error("added_tokens: ", json.dump(), " has no id or no content");
    }
    AddedToken token{.id = 0,
                     .content = Text(json, "content"),
                     .special = Flag(json, "special"),
                     .lstrip = Flag(json, "lstrip"),
                     .rstrip = Flag(json, "rstrip"),
                     .single_word = Flag(json, "single_word"),
                     .normalized = Flag(json, "normalized", !Flag(json, "special"))};
    if (token.content.empty()) continue;
    if (!seen.emplace(token.content, true).second) {
      return Error("added_tokens lists ", Field(json, "content").dump(), " twice");
    }
    const auto known = Find(token.content);
    if (!known.has_value()) {
      PHOTON_RETURN_IF_ERROR(TakeId(id.get<int64_t>(), token.content));
    } else if (*known != id.get<int64_t>()) {
      return Error("added_tokens: ", Field(json, "content").dump(), " has id ", id.get<int64_t>(),
                   ", but model.vocab gives it ", *known);
    }
    token.id = *Find(token.content);
    spec_.added.push_back(std::move(token));
  }
  return absl::OkStatus();
}

absl::Status SpecReader::ReadNormalizer(const Json& json) {
  if (json.is_null()) return absl::OkStatus();
  const std::string type = Text(json, "type");
  if (type == "Sequence") {
    for (const Json& part : Field(json, "normalizers")) PHOTON_RETURN_IF_ERROR(ReadNormalizer(part));
    return absl::OkStatus();
  }
  if (type != "NFC") return TypeError("normalizer", json, "NFC, and Sequence of it");
  spec_.nfc = true;
  return absl::OkStatus();
}

absl::Status SpecReader::ReadPreTokenizer(const Json& json) {
  const std::string type = Text(json, "type");
  if (type == "Sequence") {
    for (const Json& part : Field(json, "pretokenizers")) PHOTON_RETURN_IF_ERROR(ReadPreTokenizer(part));
    return absl::OkStatus();
  }
  if (type != "ByteLevel" && type != "Split" && type != "Digits") {
    return TypeError("pre_tokenizer", json, "ByteLevel, Split, Digits, and Sequence of them");
  }
  if (has_byte_level_) return Error("pre_tokenizer: ", type, " after ByteLevel is not supported");
  if (type == "Split") return ReadSplit(json);
  if (type == "Digits") {
    const bool single = Flag(json, "individual_digits");
    spec_.steps.push_back({.pattern = kDigitsPattern,
                           .behavior = single ? SplitStep::Behavior::kIsolated : SplitStep::Behavior::kContiguous});
    return absl::OkStatus();
  }
  has_byte_level_ = true;
  spec_.steps.push_back({.pattern = Flag(json, "use_regex", true) ? kByteLevelPattern : "",
                         .prefix_space = Flag(json, "add_prefix_space", true)});
  return absl::OkStatus();
}

absl::Status SpecReader::ReadSplit(const Json& json) {
  SplitStep step;
  const Json& pattern = Field(json, "pattern");
  if (Field(pattern, "Regex").is_string()) {
    step.pattern = Text(pattern, "Regex");
  } else if (Field(pattern, "String").is_string()) {
    for (char c :
         Text(pattern, "String")) {  // letters and bytes above ASCII stand for themselves, as all do when escaped
      if (absl::ascii_ispunct(c)) step.pattern += '\\';
      step.pattern += c;
    }
  }
  if (step.pattern.empty()) {
    return Error("pre_tokenizer: Split has no pattern {\"Regex\": \"...\"} or {\"String\": \"...\"}");
  }
  const std::pair<const char*, SplitStep::Behavior> behaviors[] = {
      {"Isolated", SplitStep::Behavior::kIsolated},
      {"Removed", SplitStep::Behavior::kRemoved},
      {"Contiguous", SplitStep::Behavior::kContiguous},
      {"MergedWithPrevious", SplitStep::Behavior::kMergedWithPrevious},
      {"MergedWithNext", SplitStep::Behavior::kMergedWithNext}};
  const std::string name = Text(json, "behavior");
  const auto* behavior =
      std::find_if(std::begin(behaviors), std::end(behaviors), [&](const auto& b) { return b.first == name; });
  if (behavior == std::end(behaviors)) return Error("pre_tokenizer: Split has the unknown behavior \"", name, "\"");
  step.behavior = behavior->second;
  step.invert = Flag(json, "invert");
  spec_.steps.push_back(std::move(step));
  return absl::OkStatus();
}

absl::Status SpecReader::CheckDecoder(const Json& json) const {
  const std::string type = Text(json, "type");
  if (type == "ByteLevel") return absl::OkStatus();
  const Json& parts = Field(json, "decoders");
  if (type == "Sequence" && parts.size() == 1) return CheckDecoder(parts[0]);
  return TypeError("decoder", json, "ByteLevel");
}

// Says what stands before and after a text; nothing else that it does concerns ids.
absl::Status SpecReader::ReadPostProcessor(const Json& json) {
  if (json.is_null()) return absl::OkStatus();
  const std::string type = Text(json, "type");
  if (type == "Sequence") {
    for (const Json& part : Field(json, "processors")) PHOTON_RETURN_IF_ERROR(ReadPostProcessor(part));
    return absl::OkStatus();
  }
  if (type == "RobertaProcessing" || type == "BertProcessing") {
    const Json &cls = Field(json, "cls"), &sep = Field(json, "sep");
    if (cls.is_array() && !cls.empty() && cls[0].is_string()) spec_.bos = Find(cls[0]).value_or(-1);
    if (sep.is_array() && !sep.empty() && sep[0].is_string()) spec_.eos = Find(sep[0]).value_or(-1);
    return absl::OkStatus();
  }
  if (type == "TemplateProcessing") {
    bool after_text = false;
    for (const Json& part : Field(json, "single")) {
      if (!Field(part, "Sequence").is_null()) after_text = true;
      const auto id = Find(Text(Field(part, "SpecialToken"), "id"));
      if (id.has_value()) (after_text ? spec_.eos : spec_.bos) = *id;
    }
    return absl::OkStatus();
  }
  if (type == "ByteLevel") return absl::OkStatus();
  return TypeError("post_processor", json,
                   "ByteLevel, TemplateProcessing, RobertaProcessing, BertProcessing, Sequence");
}

}  // namespace

absl::StatusOr<BpeSpec> ReadBpeSpec(absl::string_view json, absl::string_view name) {
  if (JsonTooDeep(json)) return Error("tokenizer ", name, ": its JSON nests deeper than ", kMostJsonDepth, " levels");
  Json root;
  try {
    root = Json::parse(json.begin(), json.end());
  } catch (const Json::parse_error& error) {
    return Error("tokenizer ", name, ": not valid JSON at byte ", error.byte, ": is the file whole?");
  } catch (const Json::out_of_range&) {
    return Error("tokenizer ", name, ": it holds a number beyond 1e308");
  }
  absl::StatusOr<BpeSpec> spec = SpecReader(root).Read();
  if (!spec.ok()) return Error("tokenizer ", name, ": ", spec.status().message());
  return spec;
}

}  // namespace photon
