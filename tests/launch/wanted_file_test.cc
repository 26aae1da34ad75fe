#include "launch/wanted_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "tests/support/temporary_folder.h"

namespace photon::testing {
namespace {

using ::testing::HasSubstr;

TEST(CheckDistinct, NamesTheOptionsThatNameOneFile) {
  const TemporaryFolder folder;
  const std::string text = folder.Write("text", "x");
  std::filesystem::create_symlink(text, folder / "link");
  std::filesystem::create_hard_link(text, folder / "hard");
  for (const std::string& same : {text, folder / "./text", folder / "link", folder / "hard"}) {
    const absl::Status status = CheckDistinct({{"--output", same}}, {{"--text", text}});
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << same;
    EXPECT_THAT(std::string(status.message()), HasSubstr("which --text reads")) << same;
  }
  EXPECT_THAT(std::string(CheckDistinct({{"--output", folder / "new"}, {"--samples", folder / "./new"}}, {}).message()),
              HasSubstr("--samples and --output are both "));
}

TEST(CheckDistinct, LetsOthersPass) {
  const TemporaryFolder folder;
  const std::string text = folder.Write("text", "x");
  EXPECT_TRUE(CheckDistinct({{"--output", folder / "a"}, {"--samples", ""}, {"--plot", ""}}, {{"--text", text}}).ok());
  EXPECT_TRUE(CheckDistinct({{"--output", ""}}, {{"--tokens", ""}}).ok());
}

TEST(WantedFile, MayBePutAgain) {
  const TemporaryFolder folder;
  auto file = WantedFile::Open(folder / "it");
  ASSERT_TRUE(file.ok() && file->Put("one").ok());
  EXPECT_EQ(folder.Read("it"), "one");
  ASSERT_TRUE(file->Put("another").ok());
  EXPECT_EQ(folder.Read("it"), "another");
}

}  // namespace
}  // namespace photon::testing
