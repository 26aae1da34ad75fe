#include "inference/server/completion_request.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "inference/server/common_fields.h"

namespace photon {
namespace {

constexpr int64_t kMostPrompts = 256;
constexpr size_t kMostVoteBytes = 1024;

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

void ReadHowMany(JsonFields* fields, CompletionRequest* request) {
  GenerateOptions& options = request->options;
  options.max_new_tokens = 16;  // OpenAI's
  fields->Read("max_tokens", &options.max_new_tokens, 1);
  fields->Read("best_of", &options.continuations, 1, kMostContinuations);
  if (options.continuations < request->n) {
    fields->Refuse("best_of", absl::StrCat("is ", options.continuations, ", less than n, ", request->n,
                                           ": raise it, or leave it out"));
  }
  if (request->stream && options.continuations > request->n) {
    fields->Refuse("best_of", "is more than n, and the best are known at the end only: leave out stream, or best_of");
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
  if (!compiled.ok()) return fields->Refuse("vote", std::string(compiled.status().message()));
  request->vote = *std::move(compiled);
  request->n = 1;
  request->options.log_probabilities = std::max(request->options.log_probabilities, 0);
}

void ReadAll(JsonFields* fields, CompletionRequest* request) {
  ReadCommonFields(fields, request);
  ReadPrompts(fields, &request->prompts);
  ReadHowMany(fields, request);
  ReadVote(fields, request);
  fields->Read("echo", &request->echo);
  if (request->echo && request->logprobs) {
    fields->Refuse(
        "echo", "can't be had with logprobs: the prompt's log-probabilities are not kept. `photon score` gives them");
  }
}

}  // namespace

std::variant<CompletionRequest, ApiError> ParseCompletionRequest(absl::string_view body) {
  return ParseRequest(body, R"({"prompt": "Once upon a time"})", ReadAll);
}

}  // namespace photon
