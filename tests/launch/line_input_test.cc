#include "launch/line_input.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include "tests/support/temporary_folder.h"

namespace photon {
namespace {

TEST(LineInput, WholeLinesOfAnyLength) {
  const testing::TemporaryFolder folder;
  const std::string longer(200'000, 'x');
  LineInput input = *LineInput::Open(folder.Write("lines", "first\n\n \t\r\n" + longer + "\nlast"));
  std::string line;
  EXPECT_TRUE(*input.Next(&line));
  EXPECT_EQ(line, "first");
  EXPECT_TRUE(*input.Next(&line));
  EXPECT_EQ(line, longer);
  EXPECT_EQ(input.number(), 4);
  EXPECT_TRUE(*input.Next(&line));
  EXPECT_EQ(line, "last");
  EXPECT_TRUE(input.Ready());
  EXPECT_FALSE(*input.Next(&line));
  EXPECT_FALSE(*input.Next(&line));
}

TEST(LineInput, APipeIsReadyOnceItHoldsALine) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  LineInput input = *LineInput::Open("/proc/self/fd/" + std::to_string(ends[0]));
  const auto send = [&](const std::string& bytes) {
    ASSERT_EQ(write(ends[1], bytes.data(), bytes.size()), static_cast<ssize_t>(bytes.size()));
  };
  EXPECT_FALSE(input.Ready());
  send("\n\npart");
  EXPECT_FALSE(input.Ready());
  send(" of a line\n");
  EXPECT_TRUE(input.Ready());
  EXPECT_TRUE(input.Ready());
  std::string line;
  EXPECT_TRUE(*input.Next(&line));
  EXPECT_EQ(line, "part of a line");
  EXPECT_EQ(input.number(), 3);
  EXPECT_FALSE(input.Ready());
  close(ends[1]);
  EXPECT_TRUE(input.Ready());
  EXPECT_FALSE(*input.Next(&line));
  close(ends[0]);
}

TEST(LineInput, WhatCannotBeReadIsNoEnd) {
  EXPECT_TRUE(absl::IsInvalidArgument(LineInput::Open("/tmp").status()));
  EXPECT_TRUE(absl::IsNotFound(LineInput::Open("/no/such/file").status()));
  LineInput memory = *LineInput::Open("/proc/self/mem");  // reading at 0 fails with EIO
  std::string line;
  EXPECT_TRUE(absl::IsDataLoss(memory.Next(&line).status()));
}

}  // namespace
}  // namespace photon
