#include "inference/chat_text.h"

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "data/utf8.h"

namespace photon {
namespace {

const ChatTemplate::Role& RoleOf(const ChatTemplate& chat, const std::string& name) {
  for (const ChatTemplate::Role& role : chat.role()) {
    if (role.name() == name) return role;
  }
  return ChatTemplate::Role::default_instance();
}

}  // namespace

std::string ChatText(const ChatTemplate& chat, absl::Span<const ChatMessage> messages) {
  std::string text = chat.start();
  for (const ChatMessage& message : messages) {
    const ChatTemplate::Role& role = RoleOf(chat, message.role);
    absl::StrAppend(&text, role.before(), message.content, role.after());
  }
  return text + RoleOf(chat, chat.reply_role()).before();
}

absl::StatusOr<StopOptions> ReplyEnds(const ChatTemplate& chat, const Tokenizer& tokenizer) {
  std::vector<std::string> ends(chat.stop().begin(), chat.stop().end());
  const absl::string_view after = absl::StripTrailingAsciiWhitespace(RoleOf(chat, chat.reply_role()).after());
  if (!after.empty()) ends.emplace_back(after);
  StopOptions stop;
  for (const std::string& end : ends) {
    if (const size_t bad = FirstInvalidUtf8(end); bad != end.size()) {
      return absl::InvalidArgumentError(absl::StrCat("the chat template ends replies by a text whose byte ", bad + 1,
                                                     " is no UTF-8; give UTF-8 text"));
    }
    const std::vector<int32_t> ids = tokenizer.Encode(end);
    if (ids.size() == 1 && tokenizer.Bytes(ids[0]).empty()) {
      stop.tokens.push_back(ids[0]);
    } else {
      stop.strings.push_back(end);
    }
  }
  return stop;
}

}  // namespace photon
