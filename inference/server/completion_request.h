// The body of POST /v1/completions, read and checked as far as that needs no model: OpenAI's fields as vLLM takes them,
// and ours (docs/serving.md). A pure function from bytes; safe on any. Chats become the same (chat_request.h).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "absl/strings/string_view.h"
#include "inference/generate_options.h"
#include "inference/selection.h"
#include "inference/server/api_error.h"

namespace photon {

using Prompt = std::variant<std::string, std::vector<int32_t>>;  // text, or ids that are taken as they are

struct CompletionRequest {
  std::string model;            // empty: whichever is served
  std::string reply_role;       // of a chat: whose message is asked for; empty: no chat
  FieldNames names;             // for errors
  std::vector<Prompt> prompts;  // at least one
  // `continuations` is best_of, or with `vote` what the request calls n; the seed is the request's only where it has
  // one. Log-probabilities where they are asked for, or needed to choose the best.
  GenerateOptions options;
  std::optional<uint64_t> seed;
  bool fits_limit = false;             // max_new_tokens is lowered to what context and memory leave
  int64_t n = 1;                       // of each prompt's continuations, the best so many are returned
  std::optional<AnswerPattern> vote;   // ... or one, with the answer that most give
  std::vector<std::string> bad_words;  // the model's tokenizer knows their tokens
  bool logprobs = false;               // are returned
  bool ignore_eos = false;
  bool echo = false;
  bool return_token_ids = false;
  bool stream = false;
  bool usage_at_end = false, usage_always = false;  // in a stream
};

// Errors: 400, and the field's name in `param`.
std::variant<CompletionRequest, ApiError> ParseCompletionRequest(absl::string_view body);

}  // namespace photon
