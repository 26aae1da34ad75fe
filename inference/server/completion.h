// One completion on its way: the prompts of a request, in the engine. Leaving early takes them out of it again.
//
// Used by one thread.
#pragma once

#include <memory>
#include <variant>
#include <vector>

#include "inference/engine/engine.h"
#include "inference/selection.h"
#include "inference/server/completion_request.h"
#include "inference/server/completion_response.h"
#include "inference/server/held_tokens.h"
#include "inference/server/http.h"
#include "inference/server/request_events.h"

namespace photon {

struct CompletionLimits {
  int64_t prompt_tokens = 0;                       // 0: no limit but the context's
  absl::Duration time = absl::InfiniteDuration();  // of a request, waiting included
};

class Completion {
 public:
  using Result = std::variant<std::unique_ptr<Completion>, ApiError>;

  // Encodes, checks and submits. The engine and the metrics outlive it; so does what `gone` looks at.
  static Result Start(Engine& engine, CompletionRequest request, const CompletionLimits& limits, CompletionHead head,
                      ClientGone gone, Metrics* metrics);
  ~Completion();
  Completion(const Completion&) = delete;
  Completion& operator=(const Completion&) = delete;

  // Blocks until it is known whether there is an answer: the first tokens, or an end. Then the whole of it, or the
  // stream that writes it (which keeps `completion`).
  static HttpResponse Answer(std::unique_ptr<Completion> completion);

 private:
  // Of a continuation that is streamed with its tokens.
  struct StreamedTokens {
    HeldTokens held;
    LogprobsWriter logprobs;
  };
  struct PromptState {
    std::vector<int32_t> ids;
    RequestId id = -1;
    std::vector<Continuation> results;
    std::vector<StreamedTokens> streamed;
    bool ended = false;
  };

  Completion(Engine& engine, CompletionRequest request, CompletionHead head, ClientGone gone, Metrics* metrics);

  std::optional<ApiError> Prepare(const CompletionLimits& limits);
  std::optional<ApiError> Encode(const Prompt& prompt, const CompletionLimits& limits, PromptState* state) const;
  std::optional<ApiError> Submit(absl::Time deadline);
  GenerateOptions OptionsFor(const PromptState& state) const;

  // The next event, with what it changes here. False where all prompts have ended, or one has failed (`error_`): the
  // others are out of the engine then.
  bool Next(RequestEvent* event);
  void Fail(ApiError error);
  void CancelAll();

  HttpResponse Whole();
  int Stream(const RequestEvent& first, const BodyWriter& write);  // as HttpResponse::stream
  bool WriteFirst(const BodyWriter& write);
  bool WriteEvent(const RequestEvent& event, const BodyWriter& write);
  bool WritePiece(const CompletionChoice& choice, const BodyWriter& write);
  bool IsChat() const { return !head_.reply_role.empty(); }
  bool SendsTokens() const { return request_.logprobs || request_.return_token_ids; }
  void SetTokens(absl::Span<const Choice> tokens, LogprobsWriter* logprobs, CompletionChoice* choice) const;
  std::vector<CompletionChoice> BestChoices(const PromptState& state, size_t prompt) const;
  std::string EchoOf(size_t prompt) const;
  int64_t IndexOf(const RequestEvent& event) const;

  Engine& engine_;
  CompletionRequest request_;
  const CompletionHead head_;
  const ClientGone gone_;
  Metrics* const metrics_;
  const absl::Time begin_;
  const std::shared_ptr<EventQueue> queue_ = std::make_shared<EventQueue>();
  int32_t eos_ = -1;  // where it ends texts
  std::vector<PromptState> prompts_;
  Usage usage_;
  std::optional<ApiError> error_;
};

}  // namespace photon
