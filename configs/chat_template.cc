#include "configs/chat_template.h"

#include <fstream>
#include <set>
#include <sstream>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "configs/checks.h"
#include "configs/parse.h"

namespace photon {
namespace {

constexpr int kMostRoles = 16, kMostStops = 8;
constexpr size_t kMostStartBytes = 1 << 16;  // it may hold a description of the task
constexpr size_t kMostBytes = 1024;          // of all other texts: as of a request's stop strings

std::vector<std::string> NamesOf(const ChatTemplate& chat) {
  std::vector<std::string> names;
  for (const ChatTemplate::Role& role : chat.role()) names.push_back(role.name());
  return names;
}

absl::Status Bounded(const std::string& field, const std::string& text, size_t most = kMostBytes) {
  if (text.size() <= most) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(field, " has ", text.size(), " bytes; use ", most, " or less"));
}

absl::Status ValidateRoles(const ChatTemplate& chat, const std::string& at) {
  if (chat.role().empty()) {
    return absl::InvalidArgumentError(absl::StrCat(at,
                                                   "role is missing; give one for each role that messages may have, as "
                                                   "in role { name: \"user\" after: \"\\n\" }"));
  }
  if (absl::Status s = Within(at + "role", chat.role_size(), 1, kMostRoles); !s.ok()) return s;
  std::set<std::string> names;
  for (int i = 0; i < chat.role_size(); ++i) {
    const ChatTemplate::Role& role = chat.role(i);
    const std::string field = absl::StrCat(at, "role.", i, ".");
    if (role.name().empty()) {
      return absl::InvalidArgumentError(absl::StrCat(field, "name is empty; name the role as requests do"));
    }
    for (const auto& [name, text] :
         {std::pair("name", role.name()), {"before", role.before()}, {"after", role.after()}}) {
      if (absl::Status s = Bounded(field + name, text); !s.ok()) return s;
    }
    if (names.insert(role.name()).second) continue;
    return Refuse(field + "name", role.name(), "is there twice", "give each role once");
  }
  if (names.count(chat.reply_role()) > 0) return absl::OkStatus();
  return Refuse(at + "reply_role", chat.reply_role(), "is none of the roles",
                absl::StrCat("name one of ", absl::StrJoin(NamesOf(chat), ", "), ", or add it"));
}

// Else the model couldn't tell where one message ends and the next begins.
absl::Status ValidateBorders(const ChatTemplate& chat, const std::string& at) {
  for (int i = 0; i < chat.role_size(); ++i) {
    for (int j = 0; j < chat.role_size(); ++j) {
      if (!chat.role(i).after().empty() || !chat.role(j).before().empty()) continue;
      return absl::InvalidArgumentError(absl::StrCat(at, "role.", i, ".after and ", at, "role.", j,
                                                     ".before are both empty, so nothing would part their messages; "
                                                     "set one of them"));
    }
  }
  return absl::OkStatus();
}

absl::Status ValidateStops(const ChatTemplate& chat, const std::string& at) {
  if (absl::Status s = Within(at + "stop", chat.stop_size(), 0, kMostStops); !s.ok()) return s;
  for (int i = 0; i < chat.stop_size(); ++i) {
    const std::string field = absl::StrCat(at, "stop.", i);
    if (absl::Status s = Bounded(field, chat.stop(i)); !s.ok()) return s;
    if (!chat.stop(i).empty()) continue;
    return absl::InvalidArgumentError(absl::StrCat(field, " is empty and would end every reply at once; leave it out"));
  }
  return absl::OkStatus();
}

// As models elsewhere bring them.
bool IsOtherFormat(const std::string& path) {
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  const std::string content = text.str();
  return absl::StrContains(content, "{%") || absl::StrContains(content, "{{") ||
         absl::StartsWith(absl::StripLeadingAsciiWhitespace(content), "{");
}

}  // namespace

absl::Status ValidateChatTemplate(const ChatTemplate& chat, const std::string& at) {
  for (const absl::Status& status : {Bounded(at + "start", chat.start(), kMostStartBytes), ValidateRoles(chat, at),
                                     ValidateBorders(chat, at), ValidateStops(chat, at)}) {
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::StatusOr<ChatTemplate> LoadChatTemplate(const std::string& path) {
  ChatTemplate chat;
  if (absl::Status status = ParseFile(path, "chat template", &chat); !status.ok()) {
    if (!IsOtherFormat(path)) return status;
    return absl::InvalidArgumentError(
        absl::StrCat(status.message(),
                     ". If it is Jinja or JSON: chat templates are the texts around messages here, as "
                     "in configs/chat/chatml.textproto (docs/serving.md, Chat)"));
  }
  if (absl::Status status = ValidateChatTemplate(chat, absl::StrCat(path, ": ")); !status.ok()) return status;
  return chat;
}

}  // namespace photon
