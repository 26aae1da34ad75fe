#include "inference/server/completion.h"

#include <algorithm>
#include <random>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/steady_time.h"
#include "inference/bad_words.h"
#include "inference/prompt_text.h"
#include "inference/vocabulary.h"
#include "inference/vote_json.h"

namespace photon {
namespace {

// While nothing comes from the engine, for clients that leave.
constexpr absl::Duration kLookEvery = absl::Milliseconds(20);

// With log-probabilities where there are any.
std::vector<Choice> ChoicesOf(absl::Span<const int32_t> tokens, absl::Span<const Choice> choices) {
  if (!choices.empty()) return {choices.begin(), choices.end()};
  std::vector<Choice> bare;
  for (const int32_t token : tokens) bare.push_back({.token = token});
  return bare;
}

uint64_t RandomSeed() {
  std::random_device device;
  return uint64_t{device()} << 32 | device();
}

}  // namespace

Completion::Completion(Engine& engine, CompletionRequest request, CompletionHead head, ClientGone gone,
                       Metrics* metrics)
    : engine_(engine),
      request_(std::move(request)),
      head_(std::move(head)),
      gone_(std::move(gone)),
      metrics_(metrics),
      begin_(SteadyNow()) {}

Completion::~Completion() { CancelAll(); }

Completion::Result Completion::Start(Engine& engine, CompletionRequest request, const CompletionLimits& limits,
                                     CompletionHead head, ClientGone gone, Metrics* metrics) {
  std::unique_ptr<Completion> completion(
      new Completion(engine, std::move(request), std::move(head), std::move(gone), metrics));
  if (auto error = completion->Prepare(limits); error.has_value()) return *std::move(error);
  if (auto error = completion->Submit(completion->begin_ + limits.time); error.has_value()) return *std::move(error);
  return completion;
}

std::optional<ApiError> Completion::Prepare(const CompletionLimits& limits) {
  const std::shared_ptr<const Tokenizer>& tokenizer = engine_.tokenizer();
  if (tokenizer == nullptr) request_.return_token_ids = true;  // there is nothing else
  if (tokenizer != nullptr && tokenizer->eos() >= 0 && !request_.ignore_eos) {
    eos_ = tokenizer->eos();
    request_.options.stop.tokens.push_back(eos_);
  }
  auto bad_words = BadWordTokens(tokenizer.get(), request_.bad_words);
  if (!bad_words.ok()) return ErrorOf(bad_words.status(), request_.names);
  request_.options.sampling.bad_words = *std::move(bad_words);
  const absl::Status valid = ValidateOptions(request_.options, engine_.model().config());
  if (!valid.ok()) return ErrorOf(valid, request_.names);
  if (request_.vote.has_value() && tokenizer == nullptr) {
    return ApiError{400, "vote looks for answers in texts, and the model has no tokenizer: leave it out", "vote"};
  }
  const auto count = static_cast<int64_t>(request_.prompts.size()), waiting = engine_.options().max_waiting;
  if (count > waiting) {  // trying again would be in vain
    return ApiError{400,
                    absl::StrCat("prompt holds ", count, " prompts, and this server lets ", waiting,
                                 " wait (--max-waiting): give the others in further requests"),
                    "prompt"};
  }
  for (const Prompt& prompt : request_.prompts) {
    prompts_.emplace_back();
    if (auto error = Encode(prompt, limits, &prompts_.back()); error.has_value()) return error;
    usage_.prompt_tokens += static_cast<int64_t>(prompts_.back().ids.size());
  }
  return std::nullopt;
}

std::optional<ApiError> Completion::Encode(const Prompt& prompt, const CompletionLimits& limits,
                                           PromptState* state) const {
  if (const auto* text = std::get_if<std::string>(&prompt); text == nullptr) {
    state->ids = std::get<std::vector<int32_t>>(prompt);
  } else if (engine_.tokenizer() == nullptr) {
    return ApiError{400, "prompt is text, and the model has no tokenizer: give token ids", "prompt"};
  } else {
    state->ids = EncodeWithBos(*engine_.tokenizer(), *text);
  }
  const char* const field = request_.names.prompt;
  const absl::Status known = CheckTokenIds(state->ids, engine_.model().config().vocab_size(), field);
  if (!known.ok()) return ApiError{400, std::string(known.message()), field};
  const auto tokens = static_cast<int64_t>(state->ids.size());
  if (limits.prompt_tokens > 0 && tokens > limits.prompt_tokens) {
    return ApiError{400,
                    absl::StrCat(field, " has ", tokens, " tokens; this server takes ", limits.prompt_tokens,
                                 " at most (--max-prompt-tokens): shorten it"),
                    field, "context_length_exceeded"};
  }
  return std::nullopt;
}

std::optional<ApiError> Completion::Submit(absl::Time deadline) {
  for (size_t i = 0; i < prompts_.size(); ++i) {
    PromptState& state = prompts_[i];
    state.results.resize(static_cast<size_t>(request_.options.continuations));
    if (request_.stream && SendsTokens()) {
      const StreamedTokens fresh{HeldTokens(engine_.tokenizer(), state.ids),
                                 LogprobsWriter(engine_.tokenizer(), state.ids)};
      state.streamed.assign(state.results.size(), fresh);
    }
    const absl::StatusOr<RequestId> id =
        engine_.Submit({state.ids, OptionsFor(state), deadline}, ListenInto(queue_, i, begin_, metrics_));
    if (!id.ok()) {
      CancelAll();
      ApiError error = ErrorOf(id.status(), request_.names);
      // So many are written, whatever they are chosen by.
      if (error.param == "n" && request_.options.continuations > request_.n && !request_.vote) error.param = "best_of";
      return error;
    }
    state.id = *id;
  }
  return std::nullopt;
}

GenerateOptions Completion::OptionsFor(const PromptState& state) const {
  GenerateOptions options = request_.options;
  // Equal prompts of a request without a seed get different texts.
  options.sampling.seed = request_.seed.has_value() ? *request_.seed : RandomSeed();
  if (request_.fits_limit) {
    // What doesn't fit is left too large: it is refused by what there is, and not by a limit that nobody gave.
    const int64_t most = engine_.MostNewTokens({.prompt = state.ids, .options = options}, options.max_new_tokens);
    options.max_new_tokens = std::max({most, options.stop.min_new_tokens, int64_t{1}});
  }
  return options;
}

void Completion::CancelAll() {
  for (const PromptState& state : prompts_) {
    if (state.id >= 0 && !state.ended) engine_.Cancel(state.id);
  }
}

void Completion::Fail(ApiError error) {
  error_ = std::move(error);
  CancelAll();
}

bool Completion::Next(RequestEvent* event) {
  const auto ended = [](const PromptState& state) { return state.ended; };
  if (error_.has_value() || std::all_of(prompts_.begin(), prompts_.end(), ended)) return false;
  for (bool got = false; !got;) {
    got = queue_->Pop(event, kLookEvery);
    if (gone_()) {
      Fail({kClientLeft, "the client has left"});
      return false;
    }
  }
  PromptState& state = prompts_[event->prompt];
  switch (event->kind) {
    case RequestEvent::Kind::kStart:
      usage_.reused_tokens += event->reused;
      break;
    case RequestEvent::Kind::kTokens:
      usage_.completion_tokens += static_cast<int64_t>(event->tokens.size());
      break;
    case RequestEvent::Kind::kFinish:
      state.results[static_cast<size_t>(event->continuation)] = event->result;
      break;
    case RequestEvent::Kind::kEnd:
      state.ended = true;
      if (event->status.ok()) break;
      Fail(ErrorOf(event->status, request_.names));
      return false;
  }
  return true;
}

HttpResponse Completion::Answer(std::unique_ptr<Completion> completion) {
  if (!completion->request_.stream) return completion->Whole();
  // An error that comes before any token still has its status code.
  RequestEvent first;
  bool more = true;
  do {
    more = completion->Next(&first);
  } while (more && first.kind == RequestEvent::Kind::kStart);
  if (completion->error_.has_value()) return ErrorResponse(*completion->error_);
  HttpResponse response;
  response.content_type =
      "text/event-stream";  // to the letter: httplib compresses other texts, and gathers them for it
  response.headers.emplace_back("Cache-Control", "no-store");
  response.headers.emplace_back("X-Accel-Buffering", "no");  // nginx would gather the stream
  response.stream = [kept = std::shared_ptr<Completion>(std::move(completion)), first](const BodyWriter& write) {
    return kept->Stream(first, write);
  };
  return response;
}

HttpResponse Completion::Whole() {
  for (RequestEvent event; Next(&event);) {
  }
  if (error_.has_value()) return ErrorResponse(*error_);
  metrics_->Answered(SteadyNow() - begin_);
  std::vector<CompletionChoice> choices;
  for (size_t i = 0; i < prompts_.size(); ++i) {
    for (CompletionChoice& choice : BestChoices(prompts_[i], i)) choices.push_back(std::move(choice));
  }
  return {.body = CompletionJson(head_, choices, UsageJson(usage_))};
}

void Completion::SetTokens(absl::Span<const Choice> tokens, LogprobsWriter* logprobs, CompletionChoice* choice) const {
  if (request_.return_token_ids) {
    choice->tokens.emplace();
    for (const Choice& token : tokens) choice->tokens->push_back(token.token);
  }
  if (request_.logprobs) choice->logprobs = IsChat() ? logprobs->WriteContent(tokens) : logprobs->Write(tokens);
}

std::vector<CompletionChoice> Completion::BestChoices(const PromptState& state, size_t prompt) const {
  std::optional<Vote> vote;
  const std::vector<int64_t> best = Select(state.results, request_.n, request_.vote, &vote);
  std::vector<CompletionChoice> choices;
  for (size_t i = 0; i < best.size(); ++i) {
    const Continuation& result = state.results[best[i]];
    CompletionChoice choice{static_cast<int64_t>(prompt * best.size() + i), EchoOf(prompt) + result.text};
    if (SendsTokens()) {
      std::vector<Choice> tokens = ChoicesOf(result.tokens, result.choices);
      if (result.finish == Finish::kStopString) {
        tokens = HeldTokens(engine_.tokenizer(), state.ids).Release(tokens, result.text.size());
      }
      LogprobsWriter logprobs(engine_.tokenizer(), state.ids);
      SetTokens(tokens, &logprobs, &choice);
    }
    SetFinish(result, request_.options.stop, eos_, &choice);
    if (vote.has_value()) choice.vote = VoteJson(*vote, state.results.size());
    choices.push_back(std::move(choice));
  }
  return choices;
}

std::string Completion::EchoOf(size_t prompt) const {
  if (!request_.echo) return "";
  if (const auto* text = std::get_if<std::string>(&request_.prompts[prompt]); text != nullptr) return *text;
  std::string text;
  if (engine_.tokenizer() == nullptr) return text;
  // A character that the ids leave unfinished begins the text that follows.
  TextStream stream(engine_.tokenizer());
  for (const int32_t id : prompts_[prompt].ids) text += stream.Push(id);
  return text;
}

int64_t Completion::IndexOf(const RequestEvent& event) const {
  return static_cast<int64_t>(event.prompt) * request_.n + event.continuation;
}

bool Completion::WritePiece(const CompletionChoice& choice, const BodyWriter& write) {
  const Json usage = request_.usage_always ? UsageJson(usage_) : Json();
  return write(ServerSentEvent(PieceJson(head_, {&choice, 1}, usage)));
}

bool Completion::WriteEvent(const RequestEvent& event, const BodyWriter& write) {
  const bool finishes = event.kind == RequestEvent::Kind::kFinish;
  if (event.kind != RequestEvent::Kind::kTokens && !finishes) return true;
  CompletionChoice choice{IndexOf(event), event.text};
  std::vector<Choice> tokens;
  if (std::vector<StreamedTokens>& streamed = prompts_[event.prompt].streamed; !streamed.empty()) {
    StreamedTokens& own = streamed[static_cast<size_t>(event.continuation)];
    if (!finishes) {
      tokens = own.held.Release(ChoicesOf(event.tokens, event.choices), event.text.size());
    } else if (event.result.finish != Finish::kStopString) {
      tokens = own.held.Rest();
    }
    SetTokens(tokens, &own.logprobs, &choice);
  }
  if (finishes && IsChat()) {
    // The end of a chat's choice has no text: what was held back goes before.
    const bool more = !choice.text.empty() || !tokens.empty();
    if (more && !WritePiece(choice, write)) return false;
    choice = {choice.index};
    if (request_.return_token_ids) choice.tokens.emplace();
  }
  if (finishes) SetFinish(event.result, request_.options.stop, eos_, &choice);
  return WritePiece(choice, write);
}

// What stands before all tokens: the prompt where it is echoed, the role of a chat.
bool Completion::WriteFirst(const BodyWriter& write) {
  if (!request_.echo && !IsChat()) return true;
  for (size_t i = 0; i < prompts_.size() * static_cast<size_t>(request_.n); ++i) {
    CompletionChoice choice{static_cast<int64_t>(i), EchoOf(i / static_cast<size_t>(request_.n))};
    choice.first = true;
    if (request_.return_token_ids) choice.tokens.emplace();
    if (!WritePiece(choice, write)) return false;
  }
  return true;
}

int Completion::Stream(const RequestEvent& first, const BodyWriter& write) {
  bool there = WriteFirst(write) && WriteEvent(first, write);
  for (RequestEvent event; there && Next(&event);) there = WriteEvent(event, write);
  if (!there) CancelAll();
  if (!there || (error_.has_value() && error_->status == kClientLeft)) return kClientLeft;
  if (error_.has_value()) {
    write(ServerSentEvent(ErrorJson(*error_)));
  } else {
    metrics_->Answered(SteadyNow() - begin_);
    if (request_.usage_at_end) write(ServerSentEvent(PieceJson(head_, {}, UsageJson(usage_))));
  }
  if (!write(kLastEvent)) return kClientLeft;
  return error_.has_value() ? error_->status : 200;
}

}  // namespace photon
