// What /v1/completions and /v1/chat/completions answer, whole or in parts: OpenAI's objects, with vLLM's stop_reason
// and token_ids. Pure.
#pragma once

#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "data/tokenizer.h"
#include "inference/sequence.h"
#include "inference/server/json_fields.h"

namespace photon {

// The same in all parts of a response.
struct CompletionHead {
  std::string id;
  int64_t created = 0;  // seconds since 1970
  std::string model;
  std::string reply_role = "";  // whose message a chat's answer is; empty: no chat
};

struct Usage {
  int64_t prompt_tokens = 0;
  int64_t completion_tokens = 0;  // of all continuations, also those that best_of leaves out
  int64_t reused_tokens = 0;      // of the prompts
};

// One element of "choices": a whole one, or a piece of one in a stream.
struct CompletionChoice {
  int64_t index = 0;
  std::string text;
  std::optional<std::vector<int32_t>> tokens = {};  // where they are returned
  Json logprobs = {};                               // LogprobsWriter's, or null
  Json finish_reason = {}, stop_reason = {};        // null until the end
  Json vote = {};                                   // VoteJson's, where one was held
  bool first = false;                               // of a stream's pieces of this choice
};

// `eos`: the token that ends texts by itself, -1 for none: it is no stop_reason.
void SetFinish(const Continuation& result, const StopOptions& stop, int32_t eos, CompletionChoice* choice);

Json UsageJson(const Usage& usage);
std::string CompletionJson(const CompletionHead& head, absl::Span<const CompletionChoice> choices, const Json& usage);
// The same for a piece of a stream. `usage` is null in most. Of a chat's choices the first piece tells the role, and
// the one with the finish_reason has no text.
std::string PieceJson(const CompletionHead& head, absl::Span<const CompletionChoice> choices, const Json& usage);

std::string ServerSentEvent(absl::string_view json);
inline constexpr char kLastEvent[] = "data: [DONE]\n\n";

// The "logprobs" object for a continuation's tokens as they come, a stretch at a time.
class LogprobsWriter {
 public:
  // `tokenizer` may be null: tokens are called "token_id:42" then, as are those that are no text by themselves.
  LogprobsWriter(std::shared_ptr<const Tokenizer> tokenizer, absl::Span<const int32_t> prompt);

  Json Write(absl::Span<const Choice> choices);
  // As chats have it.
  Json WriteContent(absl::Span<const Choice> choices);

 private:
  Json ContentOf(int32_t token, double log_probability) const;
  std::string NameOf(int32_t token) const;

  std::shared_ptr<const Tokenizer> tokenizer_;
  TextStream text_;     // prompt and tokens so far
  int64_t offset_ = 0;  // characters of the tokens so far
};

}  // namespace photon
