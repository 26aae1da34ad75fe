#include "inference/server/chat_request.h"

#include "inference/server/json_fields.h"
#include "tests/fuzz/targets.h"

namespace photon::fuzz {
namespace {

ChatFormat Format() {
  ChatFormat format;
  for (const char* name : {"system", "user", "assistant"}) {
    ChatTemplate::Role& role = *format.chat.add_role();
    role.set_name(name);
    role.set_after("\n");
  }
  format.reply_ends.strings = {"\nuser"};
  return format;
}

}  // namespace

void FuzzChatRequest(absl::string_view bytes) {
  static const ChatFormat format = Format();
  const auto parsed = ParseChatRequest(bytes, format);
  if (const auto* error = std::get_if<ApiError>(&parsed)) ErrorResponse(*error);
}

}  // namespace photon::fuzz
