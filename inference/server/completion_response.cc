#include "inference/server/completion_response.h"

#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "data/utf8.h"

namespace photon {
namespace {

struct TextField {
  const char* name;
  Json value;
};

TextField WholeText(const CompletionHead& head, const CompletionChoice& choice) {
  if (head.reply_role.empty()) return {"text", choice.text};
  return {"message", {{"role", head.reply_role}, {"content", choice.text}}};
}

TextField PieceOfText(const CompletionHead& head, const CompletionChoice& choice) {
  if (head.reply_role.empty()) return {"text", choice.text};
  Json delta = Json::object();
  if (choice.first) delta["role"] = head.reply_role;
  if (choice.finish_reason.is_null()) delta["content"] = choice.text;
  return {"delta", std::move(delta)};
}

Json ChoiceJson(const CompletionChoice& choice, TextField text) {
  Json json;
  json["index"] = choice.index;
  json[text.name] = std::move(text.value);
  json["logprobs"] = choice.logprobs;
  json["finish_reason"] = choice.finish_reason;
  json["stop_reason"] = choice.stop_reason;
  if (choice.tokens.has_value()) json["token_ids"] = *choice.tokens;
  if (!choice.vote.is_null()) json["vote"] = choice.vote;
  return json;
}

std::string ResponseJson(const CompletionHead& head, const char* chat_object,
                         absl::Span<const CompletionChoice> choices,
                         TextField (*text)(const CompletionHead&, const CompletionChoice&), const Json& usage) {
  Json json;
  json["id"] = head.id;
  json["object"] = head.reply_role.empty() ? "text_completion" : chat_object;
  json["created"] = head.created;
  json["model"] = head.model;
  json["choices"] = Json::array();
  for (const CompletionChoice& choice : choices) json["choices"].push_back(ChoiceJson(choice, text(head, choice)));
  json["usage"] = usage;
  return Dump(json);
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
  return ResponseJson(head, "chat.completion", choices, WholeText, usage);
}

std::string PieceJson(const CompletionHead& head, absl::Span<const CompletionChoice> choices, const Json& usage) {
  return ResponseJson(head, "chat.completion.chunk", choices, PieceOfText, usage);
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

Json LogprobsWriter::ContentOf(int32_t token, double log_probability) const {
  Json bytes;  // null where the token adds none
  for (const char byte : tokenizer_ == nullptr ? absl::string_view() : tokenizer_->Bytes(token)) {
    bytes.push_back(static_cast<uint8_t>(byte));
  }
  return {{"token", NameOf(token)}, {"logprob", log_probability}, {"bytes", std::move(bytes)}};
}

Json LogprobsWriter::WriteContent(absl::Span<const Choice> choices) {
  Json content = Json::array();
  for (const Choice& choice : choices) {
    Json top = Json::array();
    for (const RankedToken& other : choice.most_likely) top.push_back(ContentOf(other.token, other.log_probability));
    content.push_back(ContentOf(choice.token, choice.log_probability));
    content.back()["top_logprobs"] = std::move(top);
    if (tokenizer_ != nullptr) text_.Push(choice.token);
  }
  return {{"content", std::move(content)}};
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
