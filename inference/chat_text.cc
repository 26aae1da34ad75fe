#include "inference/chat_text.h"

#include <re2/re2.h>

#include <algorithm>
#include <set>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
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

std::vector<std::string> MarkersWithoutToken(const ChatTemplate& chat, const Tokenizer& tokenizer) {
  static const LazyRE2 kMarker = {R"((<\|[^|<>\s]+\|>))"};
  std::string texts = chat.start();
  for (const ChatTemplate::Role& role : chat.role()) absl::StrAppend(&texts, role.before(), role.after());
  for (const std::string& stop : chat.stop()) absl::StrAppend(&texts, stop);
  std::set<std::string> unknown;
  std::string marker;
  for (re2::StringPiece rest(texts); RE2::FindAndConsume(&rest, *kMarker, &marker);) {
    const std::vector<int32_t> ids = tokenizer.Encode(marker);
    const bool known = std::any_of(ids.begin(), ids.end(), [&](int32_t id) {
      const absl::string_view bytes = tokenizer.Bytes(id);
      return bytes == marker || (bytes.empty() && ids.size() <= 2);  // special; a prefix of a space may stand before
    });
    if (!known) unknown.insert(marker);
  }
  return {unknown.begin(), unknown.end()};
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
    // A token that gives no text ends the reply by itself where the end begins with it; text can't match it elsewhere.
    const std::vector<int32_t> ids = tokenizer.Encode(end);
    const auto special = std::find_if(ids.begin(), ids.end(), [&](int32_t id) { return tokenizer.Bytes(id).empty(); });
    if (special == ids.end()) {
      stop.strings.push_back(end);
    } else if (special != ids.begin()) {
      return absl::InvalidArgumentError(
          absl::StrCat("the chat template ends replies by \"", absl::CHexEscape(end),
                       "\", in which a special token follows other text, so that no text could hold it; let it begin "
                       "with the token"));
    } else if (ids[0] != tokenizer.eos()) {  // which ends texts anyway, unless a request says that it shall not
      stop.tokens.push_back(ids[0]);
    }
  }
  return stop;
}

}  // namespace photon
