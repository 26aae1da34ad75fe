#include "checkpoint/model_json.h"

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "configs/model_config.h"
#include "configs/nearest.h"
#include "core/json_depth.h"

namespace photon {
namespace {

using Json = nlohmann::json;

// Reads the keys of one object; the first problem stays.
class ObjectReader {
 public:
  ObjectReader(const Json& json, std::string where) : json_(json), where_(std::move(where)) {
    if (!json.is_object()) Fail("is not an object");
  }

  void Int(const std::string& key, bool required, const std::function<void(int32_t)>& set) {
    const Json* value = Get(key, required);
    if (value == nullptr) return;
    const bool good = value->is_number_integer() && *value <= std::numeric_limits<int32_t>::max() &&
                      *value >= std::numeric_limits<int32_t>::min();
    good ? set(value->get<int32_t>()) : Fail(absl::StrCat("\"", key, "\" is ", value->dump(), "; use an integer of 32 bits"));
  }
  void Double(const std::string& key, const std::function<void(double)>& set) {
    const Json* value = Get(key, false);
    if (value == nullptr) return;
    value->is_number() ? set(value->get<double>())
                       : Fail(absl::StrCat("\"", key, "\" is ", value->dump(), "; use a number"));
  }
  template <typename Enum>
  void Word(const std::string& key, bool (*parse)(const std::string&, Enum*), const std::vector<std::string>& words,
            const std::function<void(Enum)>& set) {
    const Json* value = Get(key, false);
    if (value == nullptr) return;
    Enum parsed;
    value->is_string() && parse(value->get<std::string>(), &parsed)
        ? set(parsed)
        : Fail(absl::StrCat("\"", key, "\" is ", value->dump(), "; use ", absl::StrJoin(words, " or ")));
  }
  const Json* Get(const std::string& key, bool required) {
    known_.push_back(key);
    const auto at = json_.find(key);
    if (json_.is_object() && at != json_.end()) return &*at;
    if (required) Fail(absl::StrCat("has no key \"", key, "\""));
    return nullptr;
  }
  void Fail(const std::string& problem) {
    if (status_.ok()) status_ = absl::InvalidArgumentError(absl::StrCat(where_, " ", problem));
  }
  // After all keys were asked for.
  absl::Status Finish() {
    if (!json_.is_object()) return status_;
    for (const auto& [key, value] : json_.items()) {
      if (std::find(known_.begin(), known_.end(), key) == known_.end()) {
        // Before what is missing: a misspelt key is both, and this message says so.
        return absl::InvalidArgumentError(
            absl::StrCat(where_, " has unknown key \"", key, "\"", DidYouMean(key, known_)));
      }
    }
    return status_;
  }

 private:
  const Json& json_;
  std::string where_;
  std::vector<std::string> known_;
  absl::Status status_;
};

absl::Status ReadLevels(const Json& levels, const std::string& file, ModelConfig& config) {
  if (!levels.is_array()) return absl::InvalidArgumentError(absl::StrCat(file, ": \"levels\" is not an array"));
  for (const Json& json : levels) {
    LevelConfig* level = config.add_levels();
    ObjectReader reader(json, absl::StrCat(file, ": levels[", config.levels_size() - 1, "]"));
    reader.Int("chunk", true, [&](int32_t v) { level->set_chunk(v); });
    reader.Int("prefix", true, [&](int32_t v) { level->set_prefix(v); });
    reader.Int("encoder_layers", true, [&](int32_t v) { level->set_encoder_layers(v); });
    reader.Int("decoder_layers", true, [&](int32_t v) { level->set_decoder_layers(v); });
    PHOTON_RETURN_IF_ERROR(reader.Finish());
  }
  return absl::OkStatus();
}

}  // namespace

std::string ModelConfigToJson(const ModelConfig& config) {
  nlohmann::ordered_json json;
  json["vocab_size"] = config.vocab_size();
  json["width"] = config.width();
  json["ffn"] = config.ffn();
  json["heads"] = config.heads();
  json["kv_heads"] = KvHeads(config);
  json["levels"] = nlohmann::ordered_json::array();
  for (const LevelConfig& level : config.levels()) {
    json["levels"].push_back({{"chunk", level.chunk()},
                              {"prefix", level.prefix()},
                              {"encoder_layers", level.encoder_layers()},
                              {"decoder_layers", level.decoder_layers()}});
  }
  if (config.levels().empty()) json["layers"] = config.layers();
  json["shift"] = ModelConfig::Shift_Name(config.shift());
  json["contents"] = ModelConfig::Contents_Name(config.contents());
  json["encoder_scope"] = ModelConfig::Scope_Name(config.encoder_scope());
  json["rope_theta"] = config.rope_theta();
  json["norm_eps"] = config.norm_eps();
  return json.dump(2) + "\n";
}

absl::StatusOr<ModelConfig> ModelConfigFromJson(const std::string& text, const std::string& file) {
  if (JsonTooDeep(text)) {
    return absl::InvalidArgumentError(absl::StrCat(file, " nests deeper than ", kMostJsonDepth, " levels"));
  }
  const Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (json.is_discarded()) return absl::InvalidArgumentError(absl::StrCat(file, " is not JSON"));
  ModelConfig config;
  ObjectReader reader(json, file);
  reader.Int("vocab_size", true, [&](int32_t v) { config.set_vocab_size(v); });
  reader.Int("width", true, [&](int32_t v) { config.set_width(v); });
  reader.Int("ffn", true, [&](int32_t v) { config.set_ffn(v); });
  reader.Int("heads", true, [&](int32_t v) { config.set_heads(v); });
  reader.Int("kv_heads", false, [&](int32_t v) { config.set_kv_heads(v); });
  const Json* levels = reader.Get("levels", true);
  reader.Int("layers", levels != nullptr && levels->is_array() && levels->empty(),
             [&](int32_t v) { config.set_layers(v); });
  reader.Word<ModelConfig::Shift>("shift", ModelConfig::Shift_Parse, {"TOP", "ALL"},
                                  [&](auto v) { config.set_shift(v); });
  reader.Word<ModelConfig::Contents>("contents", ModelConfig::Contents_Parse, {"ENCODED", "RECONSTRUCTED"},
                                     [&](auto v) { config.set_contents(v); });
  reader.Word<ModelConfig::Scope>("encoder_scope", ModelConfig::Scope_Parse, {"GLOBAL", "GROUP"},
                                  [&](auto v) { config.set_encoder_scope(v); });
  reader.Double("rope_theta", [&](double v) { config.set_rope_theta(v); });
  reader.Double("norm_eps", [&](double v) { config.set_norm_eps(v); });
  PHOTON_RETURN_IF_ERROR(reader.Finish());
  PHOTON_RETURN_IF_ERROR(ReadLevels(*levels, file, config));
  if (const absl::Status valid = ValidateModel(config); !valid.ok()) {
    return absl::InvalidArgumentError(absl::StrCat(file, ": ", valid.message()));
  }
  return config;
}

}  // namespace photon
