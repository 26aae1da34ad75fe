#include "inference/server/completion_response.h"

#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "data/utf8.h"

namespace photon {
namespace {

Json ChoiceJson(const CompletionChoice& choice) {
  Json json;
  json["index"] = choice.index;
  json["text"] = choice.text;
  json["logprobs"] = choice.logprobs;
  json["finish_reason"] = choice.finish_reason;
  json["stop_reason"] = choice.stop_reason;
  if (choice.tokens.has_value()) json["token_ids"] = *choice.tokens;
  if (!choice.vote.is_null()) json["vote"] = choice.vote;
  return json;
}

}  // namespace

void SetFinish(const Continuation& result, const StopOptions& stop, int32_t eos, CompletionChoice* choice) {
  choice->finish_reason = result.finish == Finish::kLength ? "length" : "stop";
  if (result.finish == Finish::kStopString) choice->stop_reason = stop.strings[result.stop_string];
  if (result.finish == Finish::kStopToken && result.stop_token != eos) choice->stop_reason = result.stop_token;
}

Json UsageJson(const Usage& usage) {
  return {{"prompt_tokens", usage.prompt_tokens},
          {"completion_tokens", usage.completion_tokens},
          {"total_tokens", usage.prompt_tokens + usage.completion_tokens},
          {"prompt_tokens_details", {{"cached_tokens", usage.reused_tokens}}}};
}

std::string CompletionJson(const CompletionHead& head, absl::Span<const CompletionChoice> choices, const Json& usage) {
  Json json;
  json["id"] = head.id;
  json["object"] = "text_completion";
  json["created"] = head.created;
  json["model"] = head.model;
  json["choices"] = Json::array();
  for (const CompletionChoice& choice : choices) json["choices"].push_back(ChoiceJson(choice));
  json["usage"] = usage;
  return Dump(json);
}

std::string ServerSentEvent(absl::string_view json) { return absl::StrCat("data: ", json, "\n\n"); }

LogprobsWriter::LogprobsWriter(std::shared_ptr<const Tokenizer> tokenizer, absl::Span<const int32_t> prompt)
    : tokenizer_(std::move(tokenizer)), text_(tokenizer_) {
  if (tokenizer_ == nullptr) return;
  for (const int32_t id : prompt) text_.Push(id);
}

// Its text where it would come next.
std::string LogprobsWriter::NameOf(int32_t token) const {
  if (tokenizer_ != nullptr) {
    TextStream next = text_;
    std::string text = next.Push(token);
    text += next.Finish();
    if (!text.empty() && !absl::StrContains(text, kUtf8Replacement)) return text;
  }
  return absl::StrCat("token_id:", token);
}

Json LogprobsWriter::Write(absl::Span<const Choice> choices) {
  Json offsets = Json::array(), own = Json::array(), names = Json::array(), top = Json::array();
  for (const Choice& choice : choices) {
    const std::string name = NameOf(choice.token);
    Json others = Json::object();
    for (const RankedToken& other : choice.most_likely) others.emplace(NameOf(other.token), other.log_probability);
    others.emplace(name, choice.log_probability);
    offsets.push_back(offset_);
    own.push_back(choice.log_probability);
    names.push_back(name);
    top.push_back(std::move(others));
    if (tokenizer_ != nullptr) offset_ += CountCharacters(text_.Push(choice.token));
  }
  return {{"text_offset", offsets}, {"token_logprobs", own}, {"tokens", names}, {"top_logprobs", top}};
}

}  // namespace photon
