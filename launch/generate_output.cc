#include "launch/generate_output.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "inference/vote_json.h"

namespace photon {
namespace {

using Json = nlohmann::ordered_json;

absl::string_view Name(Finish finish) { return finish == Finish::kLength ? "length" : "stop"; }

Json TokenJson(int32_t token, double log_probability, const Tokenizer* tokenizer) {
  Json json;
  json["token"] = token;
  if (tokenizer != nullptr) json["text"] = tokenizer->Decode({token});
  json["logprob"] = log_probability;
  return json;
}

Json ChoicesJson(const Continuation& continuation, bool with_others, const Tokenizer* tokenizer) {
  Json list = Json::array();
  for (const Choice& choice : continuation.choices) {
    Json json = TokenJson(choice.token, choice.log_probability, tokenizer);
    if (with_others) {
      json["top"] = Json::array();
      for (const RankedToken& other : choice.most_likely) {
        json["top"].push_back(TokenJson(other.token, other.log_probability, tokenizer));
      }
    }
    list.push_back(std::move(json));
  }
  return list;
}

Json ContinuationJson(const Continuation& continuation, int64_t index, const GenerateOptions& options,
                      int32_t log_probabilities, const Tokenizer* tokenizer) {
  Json json;
  json["index"] = index;
  if (tokenizer != nullptr) json["text"] = continuation.text;
  json["tokens"] = continuation.tokens;
  json["finish_reason"] = std::string(Name(continuation.finish));
  if (continuation.finish == Finish::kStopToken) json["stop_reason"] = continuation.stop_token;
  if (continuation.finish == Finish::kStopString) {
    json["stop_reason"] = options.stop.strings[continuation.stop_string];
  }
  if (options.log_probabilities < 0) return json;
  json["sum_logprob"] = SumLogProbability(continuation);
  if (log_probabilities >= 0) json["logprobs"] = ChoicesJson(continuation, log_probabilities > 0, tokenizer);
  return json;
}

int64_t NewTokens(absl::Span<const Continuation> continuations) {
  int64_t tokens = 0;
  for (const Continuation& continuation : continuations) {
    tokens += static_cast<int64_t>(continuation.tokens.size());
  }
  return tokens;
}

}  // namespace

Json GenerationJson(absl::Span<const Continuation> continuations, int64_t prompt_tokens, const GenerateOptions& options,
                    const Selection& selection, const Tokenizer* tokenizer) {
  std::optional<Vote> vote;
  Json json;
  json["mode"] = std::string(Name(options.mode));
  json["choices"] = Json::array();
  for (const int64_t i : Select(continuations, selection.count, selection.vote, &vote)) {
    json["choices"].push_back(ContinuationJson(continuations[i], i, options, selection.log_probabilities, tokenizer));
  }
  if (vote.has_value()) json["vote"] = VoteJson(*vote, continuations.size());
  json["usage"] = {{"prompt_tokens", prompt_tokens}, {"completion_tokens", NewTokens(continuations)}};
  return json;
}

void TextsInOrder::Add(int64_t index, absl::string_view text, bool done) {
  absl::StrAppend(&texts_[index].waiting, text);
  texts_[index].done = done;
  for (; shown_ < texts_.size(); ++shown_) {
    Text& shown = texts_[shown_];
    if (!shown.begun && texts_.size() > 1) out_ << absl::StrCat("[", shown_ + 1, "/", texts_.size(), "]\n");
    shown.begun = true;
    out_ << shown.waiting;
    shown.waiting = {};
    if (!shown.done) break;
    out_ << "\n";
  }
  out_.flush();
}

std::string Summary(const GenerateResult& result, int64_t prompt_tokens) {
  const int64_t tokens = NewTokens(result.continuations);
  const bool one = result.continuations.size() == 1;
  std::string how = one ? "" : absl::StrCat(" in ", result.continuations.size(), " continuations");
  if (one && result.continuations[0].finish == Finish::kStopToken) how = " and end-of-text";
  if (one && result.continuations[0].finish == Finish::kStopString) how = ", up to a stop string";
  return absl::StrFormat("%d tokens%s; prompt of %d in %.3f s, then %.1f tokens/s; state %d bytes, windows %d", tokens,
                         how, prompt_tokens, result.prefill_seconds, tokens / std::max(result.decode_seconds, 1e-9),
                         result.bytes.context, result.bytes.windows);
}

}  // namespace photon
