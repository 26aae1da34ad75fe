// The body of POST /v1/chat/completions, read and checked like that of /v1/completions: a conversation in place of the
// prompt, which it becomes by the model's template (docs/serving.md, Chat). A pure function from bytes; safe on any.
#pragma once

#include <variant>

#include "absl/strings/string_view.h"
#include "configs/data.pb.h"
#include "inference/generate_options.h"
#include "inference/server/api_error.h"
#include "inference/server/completion_request.h"

namespace photon {

struct ChatFormat {
  ChatTemplate chat;
  StopOptions reply_ends;  // inference/chat_text.h
};

// Errors: 400, and the field's name in `param`: "messages[2].content".
std::variant<CompletionRequest, ApiError> ParseChatRequest(absl::string_view body, const ChatFormat& format);

}  // namespace photon
