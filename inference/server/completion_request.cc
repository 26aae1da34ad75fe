#include "inference/server/completion_request.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "inference/server/json_fields.h"

namespace photon {
namespace {

constexpr int64_t kMostPrompts = 256;
constexpr int64_t kMostContinuations = 128;
constexpr int64_t kMostLogprobs = 20;  // vLLM's
// Each new character is compared with all stop strings, each token with all stop tokens, on the thread that all wait
// for.
constexpr size_t kMostStops = 16, kMostStopTokens = 64, kMostBadWords = 256, kMostStringBytes = 1024;
constexpr size_t kMostBiases = 1024, kMostAllowed = 1 << 20;
constexpr size_t kMostVoteBytes = 1024;
constexpr double kLargestBias = 100;  // OpenAI's

// What would change the result and is not there: better refused than ignored.
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
// What is always done here, and can't be switched off.
constexpr const char* kAlwaysOn[] = {"skip_special_tokens", "add_special_tokens", "detokenize"};

bool IsId(const Json& value) { return value.is_number_unsigned() && value.get<uint64_t>() <= INT32_MAX; }

// False, with the error told, where an element is no token id.
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

constexpr char kPromptForms[] = "a string, an array of strings, an array of token ids, or an array of such arrays";

void ReadPromptList(const Json& list, JsonFields* fields, std::vector<Prompt>* prompts) {
  if (list.size() > kMostPrompts) {
    return fields->Refuse("prompt", absl::StrCat("holds ", list.size(), " prompts: give ", kMostPrompts,
                                                 " at most, and the others in further requests"));
  }
  const bool texts = list[0].is_string();
  for (const Json& element : list) {
    if (texts != element.is_string() || (!texts && !element.is_array())) {
      return fields->Refuse("prompt", absl::StrCat("has ", Described(element), " as element ", prompts->size(),
                                                   " (counted from 0): give ", kPromptForms));
    }
    if (texts) {
      prompts->emplace_back(element.get<std::string>());
      continue;
    }
    std::vector<int32_t> ids;
    if (!ReadIds(element, "prompt", fields, &ids)) return;
    prompts->emplace_back(std::move(ids));
  }
}

void ReadPrompts(JsonFields* fields, std::vector<Prompt>* prompts) {
  const Json* json = fields->Find("prompt");
  if (json == nullptr) return fields->Refuse("prompt", absl::StrCat("is missing: give ", kPromptForms));
  if (json->is_string()) {
    prompts->emplace_back(json->get<std::string>());
  } else if (!json->is_array() || json->empty()) {
    fields->WrongType("prompt", kPromptForms, *json);
  } else if ((*json)[0].is_number()) {
    std::vector<int32_t> ids;
    if (ReadIds(*json, "prompt", fields, &ids)) prompts->emplace_back(std::move(ids));
  } else {
    ReadPromptList(*json, fields, prompts);
  }
}

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

void ReadHowMany(JsonFields* fields, CompletionRequest* request) {
  GenerateOptions& options = request->options;
  options.max_new_tokens = 16;  // OpenAI's
  fields->Read("max_tokens", &options.max_new_tokens, 1);
  fields->Read("min_tokens", &options.stop.min_new_tokens, 0);
  fields->Read("n", &request->n, 1, kMostContinuations);
  options.continuations = request->n;
  fields->Read("best_of", &options.continuations, 1, kMostContinuations);
  if (options.continuations < request->n) {
    fields->Refuse("best_of", absl::StrCat("is ", options.continuations, ", less than n, ", request->n,
                                           ": raise it, or leave it out"));
  }
  int64_t logprobs = -1;
  fields->Read("logprobs", &logprobs, 0, kMostLogprobs);
  request->logprobs = logprobs >= 0;
  options.log_probabilities = static_cast<int32_t>(logprobs);
  if (options.continuations > request->n) options.log_probabilities = std::max(options.log_probabilities, 0);
}

void ReadVote(JsonFields* fields, CompletionRequest* request) {
  if (fields->Find("vote") == nullptr) return;
  std::string pattern;
  fields->Read("vote", &pattern);
  if (pattern.size() > kMostVoteBytes) {
    return fields->Refuse("vote", absl::StrCat("has ", pattern.size(), " bytes: give ", kMostVoteBytes, " at most"));
  }
  if (fields->Find("best_of") != nullptr) {
    return fields->Refuse("vote", "and best_of choose in different ways: give one of them; n votes are counted");
  }
  if (request->stream) return fields->Refuse("vote", "is counted at the end only: leave out stream, or vote");
  absl::StatusOr<AnswerPattern> compiled = AnswerPattern::Compile(pattern);
  if (!compiled.ok()) return fields->Refuse("vote", absl::StrCat("is ", compiled.status().message()));
  request->vote = *std::move(compiled);
  request->n = 1;
  request->options.log_probabilities = std::max(request->options.log_probabilities, 0);
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
  if (request->stream && request->options.continuations > request->n) {
    fields->Refuse("best_of", "is more than n, and the best are known at the end only: leave out stream, or best_of");
  }
}

void RefuseUnsupported(JsonFields* fields) {
  for (const char* name : kUnsupported) {
    const Json* json = fields->Find(name);
    if (json == nullptr || *json == Json(false) || *json == Json{{"type", "text"}}) continue;
    fields->Refuse(name, "is not supported here: leave it out");
  }
  for (const char* name : kAlwaysOn) {
    const Json* json = fields->Find(name);
    if (json != nullptr && *json != Json(true)) fields->Refuse(name, "can't be anything but true here: leave it out");
  }
}

void ReadAll(JsonFields* fields, CompletionRequest* request) {
  fields->Read("model", &request->model);
  ReadPrompts(fields, &request->prompts);
  RefuseUnsupported(fields);
  ReadSampling(fields, &request->options.sampling);
  ReadHowMany(fields, request);
  ReadStrings("stop", /*or_one=*/true, kMostStops, fields, &request->options.stop.strings);
  ReadStrings("bad_words", /*or_one=*/false, kMostBadWords, fields, &request->bad_words);
  ReadIdList("stop_token_ids", kMostStopTokens, fields, &request->options.stop.tokens);
  fields->Read("ignore_eos", &request->ignore_eos);
  fields->Read("echo", &request->echo);
  fields->Read("return_token_ids", &request->return_token_ids);
  ReadStream(fields, request);
  ReadVote(fields, request);
  std::string user;  // nobody's business, but its type is OpenAI's
  fields->Read("user", &user);
  if (request->echo && request->logprobs) {
    fields->Refuse(
        "echo", "can't be had with logprobs: the prompt's log-probabilities are not kept. `photon score` gives them");
  }
  if (fields->Find("seed") != nullptr) {
    int64_t seed = 0;
    fields->Read("seed", &seed, INT64_MIN, INT64_MAX);
    request->seed = static_cast<uint64_t>(seed);
  }
  std::string mode(Name(request->options.mode));
  fields->Read("mode", &mode);
  const absl::StatusOr<GenerationMode> parsed = ParseGenerationMode(mode);
  if (parsed.ok()) {
    request->options.mode = *parsed;
  } else {
    fields->Refuse("mode", std::string(parsed.status().message().substr(sizeof("mode"))));
  }
}

}  // namespace

std::variant<CompletionRequest, ApiError> ParseCompletionRequest(absl::string_view body) {
  Json object;
  if (auto error = ParseObject(body, &object); error.has_value()) return *std::move(error);
  JsonFields fields(object);
  CompletionRequest request;
  ReadAll(&fields, &request);
  if (fields.error().has_value()) return *fields.error();
  if (const absl::Status valid = ValidateOptions(request.options); !valid.ok()) return ErrorOf(valid);
  return request;
}

}  // namespace photon
