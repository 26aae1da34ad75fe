#include "inference/server/common_fields.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace photon {
namespace {

// Each new character is compared with all stop strings, each token with all stop tokens, on the thread that all wait
// for.
constexpr size_t kMostStops = 16, kMostStopTokens = 64, kMostBadWords = 256, kMostStringBytes = 1024;
constexpr size_t kMostBiases = 1024, kMostAllowed = 1 << 20;
constexpr double kLargestBias = 100;  // OpenAI's

constexpr const char* kUnsupported[] = {"suffix",
                                        "prompt_logprobs",
                                        "prompt_embeds",
                                        "use_beam_search",
                                        "truncate_prompt_tokens",
                                        "include_stop_str_in_output",
                                        "return_tokens_as_token_ids",
                                        "logits_processors",
                                        "logprob_token_ids",
                                        "cache_salt",
                                        "kv_transfer_params",
                                        "vllm_xargs",
                                        "guided_json",
                                        "guided_regex",
                                        "guided_choice",
                                        "guided_grammar",
                                        "guided_decoding_backend",
                                        "guided_whitespace_pattern",
                                        "structural_tag",
                                        "response_format",
                                        "structured_outputs"};
constexpr const char* kAlwaysOn[] = {"skip_special_tokens", "add_special_tokens", "detokenize"};

bool IsId(const Json& value) { return value.is_number_unsigned() && value.get<uint64_t>() <= INT32_MAX; }

// A string for each that is asked for, `most` at most.
void ReadStrings(const char* name, bool or_one, size_t most, JsonFields* fields, std::vector<std::string>* strings) {
  const Json* json = fields->Find(name);
  if (json == nullptr) return;
  const char* const wanted = or_one ? "a string or an array of strings" : "an array of strings";
  const auto add = [&](const Json& value) {
    if (!value.is_string()) return fields->WrongType(name, wanted, value);
    strings->push_back(value.get<std::string>());
    if (strings->back().size() > kMostStringBytes) {
      fields->Refuse(name, absl::StrCat("has a string of ", strings->back().size(), " bytes: give ", kMostStringBytes,
                                        " at most"));
    }
  };
  if (or_one && !json->is_array()) return add(*json);
  if (!json->is_array()) return fields->WrongType(name, wanted, *json);
  if (json->size() > most) {
    return fields->Refuse(name, absl::StrCat("holds ", json->size(), " strings: give ", most, " at most"));
  }
  for (const Json& value : *json) add(value);
}

void ReadIdList(const char* name, size_t most, JsonFields* fields, std::vector<int32_t>* tokens) {
  const Json* json = fields->Find(name);
  if (json == nullptr) return;
  if (!json->is_array()) return fields->WrongType(name, "an array of token ids", *json);
  if (json->size() > most) {
    return fields->Refuse(name, absl::StrCat("holds ", json->size(), " ids: give ", most, " at most"));
  }
  ReadIds(*json, name, fields, tokens);
}

void ReadAllowed(JsonFields* fields, std::vector<int32_t>* tokens) {
  const Json* json = fields->Find("allowed_token_ids");
  if (json != nullptr && json->empty()) return fields->WrongType("allowed_token_ids", "at least one token id", *json);
  ReadIdList("allowed_token_ids", kMostAllowed, fields, tokens);
  // So that each token costs no more than the vocabulary.
  std::sort(tokens->begin(), tokens->end());
  tokens->erase(std::unique(tokens->begin(), tokens->end()), tokens->end());
}

void ReadBiases(JsonFields* fields, std::vector<LogitBias>* biases) {
  const Json* json = fields->Find("logit_bias");
  if (json == nullptr) return;
  if (!json->is_object()) return fields->WrongType("logit_bias", "an object, as in {\"42\": -100}", *json);
  if (json->size() > kMostBiases) {
    return fields->Refuse("logit_bias", absl::StrCat("has ", json->size(), " entries: give ", kMostBiases, " at most"));
  }
  for (const auto& [key, value] : json->items()) {
    LogitBias bias;
    if (!absl::SimpleAtoi(key, &bias.token) || bias.token < 0) {
      return fields->Refuse("logit_bias", absl::StrCat("has the key \"", key.substr(0, 40), "\": give token ids"));
    }
    if (!value.is_number() || !(std::abs(value.get<double>()) <= kLargestBias)) {
      return fields->Refuse("logit_bias", absl::StrCat("has ", Described(value), " for token ", bias.token,
                                                       ": give a number from -100 to 100"));
    }
    bias.bias = value.get<double>();
    biases->push_back(bias);
  }
}

void ReadSampling(JsonFields* fields, SamplingOptions* sampling) {
  sampling->temperature = 1;
  fields->Read("temperature", &sampling->temperature);
  fields->Read("top_p", &sampling->top_p);
  fields->Read("min_p", &sampling->min_p);
  fields->Read("typical_p", &sampling->typical_p);
  fields->Read("repetition_penalty", &sampling->repetition_penalty);
  fields->Read("presence_penalty", &sampling->presence_penalty);
  fields->Read("frequency_penalty", &sampling->frequency_penalty);
  int64_t top_k = 0;
  fields->Read("top_k", &top_k, -1);  // -1: vLLM's other way to say off
  sampling->top_k = static_cast<int32_t>(std::max<int64_t>(top_k, 0));
  ReadBiases(fields, &sampling->logit_bias);
  ReadAllowed(fields, &sampling->allowed_tokens);
}

void ReadStream(JsonFields* fields, CompletionRequest* request) {
  fields->Read("stream", &request->stream);
  if (const Json* json = fields->Find("stream_options"); json != nullptr) {
    if (!json->is_object())
      return fields->WrongType("stream_options", "an object, as in {\"include_usage\": true}", *json);
    if (!request->stream) return fields->Refuse("stream_options", "needs \"stream\": true: set it, or leave this out");
    JsonFields options(*json, "stream_options.");
    options.Read("include_usage", &request->usage_at_end);
    options.Read("continuous_usage_stats", &request->usage_always);
    fields->Adopt(options);
  }
}

void ReadSeed(JsonFields* fields, std::optional<uint64_t>* seed) {
  if (fields->Find("seed") == nullptr) return;
  int64_t given = 0;
  fields->Read("seed", &given, INT64_MIN, INT64_MAX);
  *seed = static_cast<uint64_t>(given);
}

void ReadMode(JsonFields* fields, GenerationMode* mode) {
  std::string name(Name(*mode));
  fields->Read("mode", &name);
  const absl::StatusOr<GenerationMode> parsed = ParseGenerationMode(name);
  if (!parsed.ok()) return fields->Refuse("mode", std::string(parsed.status().message().substr(sizeof("mode"))));
  *mode = *parsed;
}

}  // namespace

std::variant<CompletionRequest, ApiError> ParseRequest(absl::string_view body, absl::string_view example,
                                                       absl::FunctionRef<void(JsonFields*, CompletionRequest*)> read) {
  Json object;
  if (auto error = ParseObject(body, example, &object); error.has_value()) return *std::move(error);
  JsonFields fields(object);
  CompletionRequest request;
  read(&fields, &request);
  if (fields.error().has_value()) return *fields.error();
  const absl::Status valid = ValidateOptions(request.options);
  if (!valid.ok()) return ErrorOf(valid, request.names);
  return request;
}

void ReadCommonFields(JsonFields* fields, CompletionRequest* request) {
  GenerateOptions& options = request->options;
  RefuseFields(kUnsupported, "is not supported here: leave it out", fields);
  RequireTrue(kAlwaysOn, fields);
  fields->Read("model", &request->model);
  ReadSampling(fields, &options.sampling);
  fields->Read("min_tokens", &options.stop.min_new_tokens, 0);
  fields->Read("n", &request->n, 1, kMostContinuations);
  options.continuations = request->n;
  ReadStrings("stop", /*or_one=*/true, kMostStops, fields, &options.stop.strings);
  ReadStrings("bad_words", /*or_one=*/false, kMostBadWords, fields, &request->bad_words);
  ReadIdList("stop_token_ids", kMostStopTokens, fields, &options.stop.tokens);
  fields->Read("ignore_eos", &request->ignore_eos);
  fields->Read("return_token_ids", &request->return_token_ids);
  ReadStream(fields, request);
  ReadSeed(fields, &request->seed);
  ReadMode(fields, &options.mode);
  std::string user;  // nobody's business, but its type is OpenAI's
  fields->Read("user", &user);
}

void RefuseFields(absl::Span<const char* const> names, const char* why, JsonFields* fields) {
  const Json nothing[] = {Json(false), Json::array(), Json{{"type", "text"}}};
  for (const char* name : names) {
    const Json* json = fields->Find(name);
    if (json == nullptr || std::find(std::begin(nothing), std::end(nothing), *json) != std::end(nothing)) continue;
    fields->Refuse(name, why);
  }
}

void RequireTrue(absl::Span<const char* const> names, JsonFields* fields) {
  for (const char* name : names) {
    const Json* json = fields->Find(name);
    if (json != nullptr && *json != Json(true)) fields->Refuse(name, "can't be anything but true here: leave it out");
  }
}

bool ReadIds(const Json& array, const std::string& name, JsonFields* fields, std::vector<int32_t>* ids) {
  ids->reserve(array.size());
  for (const Json& value : array) {
    if (!IsId(value)) {
      fields->Refuse(name, absl::StrCat("has ", Described(value), " as element ", ids->size(),
                                        " (counted from 0): token ids are integers from 0 to ", INT32_MAX));
      return false;
    }
    ids->push_back(value.get<int32_t>());
  }
  return true;
}

}  // namespace photon
