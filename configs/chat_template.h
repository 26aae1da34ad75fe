// Judging and reading chat templates (ChatTemplate in data.proto; docs/serving.md, Chat). Any thread.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "configs/data.pb.h"

namespace photon {

// kInvalidArgument, naming the field and the remedy: no role, roles without a name or twice, a reply_role that is none
// of them, messages with nothing between them, an empty stop, too many or too long texts. `at` stands before the
// fields: "data.chat_template.".
absl::Status ValidateChatTemplate(const ChatTemplate& chat, const std::string& at);

// From a file of its own, valid; errors name the file too.
absl::StatusOr<ChatTemplate> LoadChatTemplate(const std::string& path);

}  // namespace photon
