// Chat templates: which are refused and why, how they come into a config and stay there, and those that are shipped.
#include "configs/chat_template.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "absl/strings/str_cat.h"
#include "configs/config.h"
#include "tests/support/temporary_folder.h"

namespace photon {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr char kRoles[] = R"(role { name: "user" after: "\n" } role { name: "assistant" before: "> " after: "\n" } )";

std::string TemplateError(const std::string& text) {
  const testing::TemporaryFolder folder;
  const absl::StatusOr<ChatTemplate> chat = LoadChatTemplate(folder.Write("chat.textproto", text));
  EXPECT_EQ(chat.status().code(), absl::StatusCode::kInvalidArgument) << text;
  EXPECT_THAT(std::string(chat.status().message()), HasSubstr("chat.textproto"));
  return std::string(chat.status().message());
}

TEST(ChatTemplate, ShippedOnesAreGood) {
  int count = 0;
  for (const auto& entry : std::filesystem::directory_iterator(PHOTON_SOURCE_DIR "/configs/chat")) {
    ++count;
    const absl::StatusOr<ChatTemplate> chat = LoadChatTemplate(entry.path().string());
    EXPECT_TRUE(chat.ok()) << chat.status();
  }
  EXPECT_EQ(count, 2);
}

TEST(ChatTemplate, RefusedWithFieldAndRemedy) {
  const std::string long_text(2000, 'x');
  const std::pair<std::string, const char*> cases[] = {
      {"", "role is missing; give one for each role"},
      {"start: \"x\"", "role is missing"},
      {"role { after: \"x\" }", "role.0.name is empty"},
      {absl::StrCat(kRoles, "role { name: \"user\" after: \"x\" }"), "role.2.name = user is there twice"},
      {"role { name: \"user\" after: \"x\" }", "reply_role = assistant is none of the roles; name one of user"},
      {absl::StrCat(kRoles, "reply_role: \"model\""), "reply_role = model is none"},
      {"role { name: \"assistant\" }", "role.0.after and"},
      {absl::StrCat(kRoles, "role { name: \"system\" before: \"x\" }"), "role.2.after and"},
      {absl::StrCat(kRoles, "stop: \"\""), "stop.0 is empty"},
      {absl::StrCat(kRoles, "stop: \"", long_text, "\""), "stop.0 has 2000 bytes; use 1024 or less"},
      {absl::StrCat(kRoles, "start: \"", std::string(70000, 'x'), "\""), "start has 70000 bytes"},
      {absl::StrCat("role { name: \"assistant\" after: \"", long_text, "\" }"), "role.0.after has 2000 bytes"},
      {absl::StrCat(kRoles, "stop: [\"1\",\"2\",\"3\",\"4\",\"5\",\"6\",\"7\",\"8\",\"9\"]"),
       "stop = 9 is out of range"},
      {absl::StrCat(kRoles, "rol { }"), ":1: ChatTemplate has no field \"rol\"; did you mean \"role\"?"},
  };
  for (const auto& [text, message] : cases) EXPECT_THAT(TemplateError(text), HasSubstr(message));
  for (const char* text : {"{% for message in messages %}{{ message }}{% endfor %}", " {\"chat_template\": \"x\"}"}) {
    EXPECT_THAT(TemplateError(text), HasSubstr("If it is Jinja or JSON")) << text;
  }
  EXPECT_THAT(TemplateError("role { after: \"x\""), Not(HasSubstr("Jinja")));
  EXPECT_THAT(TemplateError("role { name: \"{{user}}\" aftr: \"x\" }"), HasSubstr("did you mean \"after\"?"));
  const absl::Status missing = LoadChatTemplate("/no/such.textproto").status();
  EXPECT_EQ(missing.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(missing.message()), HasSubstr("chat template /no/such.textproto"));
}

TEST(ChatTemplate, IsPartOfTheRun) {
  const std::string run = "model { layers: 1 } data { train: \"text\" chat_template { ";
  RunConfig config = *ParseRunConfig(absl::StrCat(run, kRoles, "} }"), "run");
  EXPECT_TRUE(ValidateRun(config, 1).ok()) << ValidateRun(config, 1);
  const RunConfig resolved = Resolved(config, 1);
  EXPECT_EQ(resolved.data().chat_template().role(1).before(), "> ");
  EXPECT_EQ(ParseRunConfig(ToText(resolved), "again")->SerializeAsString(), resolved.SerializeAsString());
  ASSERT_TRUE(ApplyOverride("data.chat_template.stop=Human:", &config).ok());
  EXPECT_THAT(config.data().chat_template().stop(), ::testing::ElementsAre("Human:"));
  ASSERT_TRUE(ApplyOverride("data.chat_template.reply_role=model", &config).ok());
  EXPECT_THAT(std::string(ValidateRun(config, 1).message()), HasSubstr("data.chat_template.reply_role = model"));
  ASSERT_TRUE(ApplyOverride("data.chat_template=", &config).ok());
  EXPECT_TRUE(ValidateRun(config, 1).ok());
  EXPECT_FALSE(Resolved(config, 1).data().has_chat_template());
}

}  // namespace
}  // namespace photon
