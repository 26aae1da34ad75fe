#include "inference/server/chat_request.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "inference/chat_text.h"
#include "inference/server/common_fields.h"

namespace photon {
namespace {

constexpr size_t kMostMessages = 1024;
constexpr int64_t kNewTokens = 1024;  // where the request doesn't say, and context and memory leave as many
constexpr char kContentForms[] = "a string, or an array of parts, as in {\"type\": \"text\", \"text\": \"..\"}";

// What would change the reply and is not there.
constexpr const char* kUnsupportedOfChats[] = {"tools",
                                               "functions",
                                               "audio",
                                               "documents",
                                               "chat_template",
                                               "chat_template_kwargs",
                                               "continue_final_message",
                                               "web_search_options"};
constexpr const char* kUnsupportedInMessages[] = {"tool_calls", "function_call", "audio"};
constexpr const char* kOfCompletions[] = {"prompt", "echo", "best_of", "vote"};

void RefuseUnsupported(JsonFields* fields) {
  RefuseFields(kOfCompletions, "is a field of /v1/completions: leave it out, or ask there", fields);
  RefuseFields(kUnsupportedOfChats, "is not supported here: leave it out", fields);
  RequireTrue({"add_generation_prompt"}, fields);
  const std::pair<const char*, Json> only[] = {
      {"tool_choice", "none"}, {"function_call", "none"}, {"modalities", Json::array({"text"})}};
  for (const auto& [name, value] : only) {
    const Json* json = fields->Find(name);
    if (json == nullptr || *json == value) continue;
    fields->Refuse(name, absl::StrCat("can't be anything but ", value.dump(), " here: leave it out"));
  }
}

void ReadPart(const Json& json, const std::string& at, JsonFields* fields, std::string* text) {
  if (!json.is_object()) return fields->WrongType(at, "an object, as in {\"type\": \"text\", \"text\": \"..\"}", json);
  JsonFields part(json, at + ".");
  std::string type, own;
  part.Read("type", &type);
  if (type != "text") part.Refuse("type", absl::StrCat("is \"", type.substr(0, 40), "\": only text is read here"));
  if (part.Find("text") == nullptr) part.Refuse("text", "is missing: give a string");
  part.Read("text", &own);
  *text += own;
  fields->Adopt(part);
}

void ReadContent(const Json* json, const std::string& at, JsonFields* fields, std::string* text) {
  if (json == nullptr) return fields->Refuse(at, absl::StrCat("is missing: give ", kContentForms));
  if (json->is_string()) {
    *text = json->get<std::string>();
  } else if (!json->is_array() || json->empty()) {
    fields->WrongType(at, kContentForms, *json);
  } else {
    for (size_t i = 0; i < json->size(); ++i) ReadPart((*json)[i], absl::StrCat(at, "[", i, "]"), fields, text);
  }
}

void ReadRole(const ChatTemplate& chat, JsonFields* message, std::string* role) {
  if (message->Find("role") == nullptr) return message->Refuse("role", "is missing: give a string");
  message->Read("role", role);
  for (const ChatTemplate::Role& known : chat.role()) {
    if (known.name() == *role) return;
  }
  const auto name = [](std::string* out, const ChatTemplate::Role& known) { *out += known.name(); };
  message->Refuse("role", absl::StrCat("is \"", role->substr(0, 40), "\": the model's chat template knows ",
                                       absl::StrJoin(chat.role(), ", ", name)));
}

ChatMessage ReadMessage(const ChatTemplate& chat, const Json& json, const std::string& at, JsonFields* fields) {
  ChatMessage read;
  if (!json.is_object()) {
    fields->WrongType(at, "an object, as in {\"role\": \"user\", \"content\": \"..\"}", json);
    return read;
  }
  JsonFields message(json, at + ".");
  ReadRole(chat, &message, &read.role);
  RefuseFields(kUnsupportedInMessages, "is not supported here: leave it out", &message);
  fields->Adopt(message);
  ReadContent(message.Find("content"), at + ".content", fields, &read.content);
  return read;
}

void ReadMessages(const ChatTemplate& chat, JsonFields* fields, std::vector<Prompt>* prompts) {
  const Json* json = fields->Find("messages");
  if (json == nullptr) return fields->Refuse("messages", "is missing: give an array of messages");
  if (!json->is_array() || json->empty()) return fields->WrongType("messages", "an array of messages", *json);
  if (json->size() > kMostMessages) {
    return fields->Refuse("messages", absl::StrCat("holds ", json->size(), ": give ", kMostMessages, " at most"));
  }
  std::vector<ChatMessage> messages;
  for (const Json& message : *json) {
    messages.push_back(ReadMessage(chat, message, absl::StrCat("messages[", messages.size(), "]"), fields));
  }
  prompts->emplace_back(ChatText(chat, messages));
}

void ReadMaxTokens(JsonFields* fields, CompletionRequest* request) {
  const bool old_name = fields->Find("max_completion_tokens") == nullptr && fields->Find("max_tokens") != nullptr;
  request->names.max_tokens = old_name ? "max_tokens" : "max_completion_tokens";
  request->fits_limit = fields->Find(request->names.max_tokens) == nullptr;
  request->options.max_new_tokens = std::max(kNewTokens, request->options.stop.min_new_tokens);
  fields->Read(request->names.max_tokens, &request->options.max_new_tokens, 1);
}

void ReadLogprobs(JsonFields* fields, CompletionRequest* request) {
  int64_t top = 0;
  fields->Read("logprobs", &request->logprobs);
  fields->Read("top_logprobs", &top, 0, kMostLogprobs);
  if (top > 0 && !request->logprobs) {
    fields->Refuse("top_logprobs", "needs \"logprobs\": true: set it, or leave this out");
  }
  request->options.log_probabilities = request->logprobs ? static_cast<int32_t>(top) : -1;
}

}  // namespace

std::variant<CompletionRequest, ApiError> ParseChatRequest(absl::string_view body, const ChatFormat& format) {
  constexpr absl::string_view kExample = R"({"messages": [{"role": "user", "content": "Hello"}]})";
  return ParseRequest(body, kExample, [&format](JsonFields* fields, CompletionRequest* request) {
    request->names = {.prompt = "messages", .logprobs = "top_logprobs"};
    request->reply_role = format.chat.reply_role();
    RefuseUnsupported(fields);
    ReadCommonFields(fields, request);
    ReadMessages(format.chat, fields, &request->prompts);
    ReadMaxTokens(fields, request);
    ReadLogprobs(fields, request);
    StopOptions& stop = request->options.stop;
    stop.strings.insert(stop.strings.end(), format.reply_ends.strings.begin(), format.reply_ends.strings.end());
    stop.tokens.insert(stop.tokens.end(), format.reply_ends.tokens.begin(), format.reply_ends.tokens.end());
  });
}

}  // namespace photon
