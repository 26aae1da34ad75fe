#include "inference/stop_text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/match.h"

namespace photon {
namespace {

using ::testing::HasSubstr;

// What comes out of a text that arrives in pieces. `checked`: nothing is shown that would have to be taken back.
std::string Shown(const std::vector<std::string>& stops, const std::vector<std::string>& pieces, int* stop = nullptr) {
  StopText text(stops);
  std::string shown;
  for (const std::string& piece : pieces) shown += text.Push(piece);
  shown += text.Finish();
  if (stop != nullptr) *stop = text.stop();
  EXPECT_EQ(text.Push("more") + text.Finish(), text.stopped() ? "" : "more");
  return shown;
}

// Every way to cut a text in three gives the same: across every border of pieces, inside characters too.
TEST(StopText, SplitAnywhere) {
  struct Case {
    std::vector<std::string> stops;
    std::string text, want;
    int stop;
  };
  const Case cases[] = {
      {{"END"}, "one END two", "one ", 0},
      {{"END"}, "one ENENDD two", "one EN", 0},
      {{"END"}, "one EN", "one EN", -1},
      {{"aab"}, "aaaab", "aa", 0},
      {{"\n\n", "é!"}, "né é!\n\n", "né ", 1},
      {{"日本"}, "日日本語", "日", 0},
      {{"é"}, "èè", "èè", -1},  // the same first byte
      {{"😀x"}, "😀😀😁x😀x", "😀😀😁x", 0},
      {{"bc", "abcd"}, "xabcde", "xa", 0},  // the first to be complete
      {{"abcd", "bc"}, "xabcde", "xa", 1},
      {{"cd", "abcd"}, "xabcde", "x", 1},  // of two complete at once the longer
      {{"abcd", "cd"}, "xabcde", "x", 0},
      {{}, "anything", "anything", -1},
      {{"anything"}, "anything", "", 0},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.text);
    for (size_t i = 0; i <= c.text.size(); ++i) {
      for (size_t j = i; j <= c.text.size(); ++j) {
        int stop = -2;
        EXPECT_EQ(Shown(c.stops, {c.text.substr(0, i), c.text.substr(i, j - i), c.text.substr(j)}, &stop), c.want);
        EXPECT_EQ(stop, c.stop);
      }
    }
  }
}

// Never more is held back than a stop string could begin with, and never less.
TEST(StopText, HoldsBackWhatMayBeginAStop) {
  StopText text({"abcd", "bx"});
  EXPECT_EQ(text.Push("zab"), "z");
  EXPECT_EQ(text.Push("c"), "");
  EXPECT_EQ(text.Push("c"), "abcc");
  EXPECT_EQ(text.Push("ab"), "");
  EXPECT_EQ(text.Push("x"), "a");
  EXPECT_EQ(text.stop(), 1);
}

TEST(StopText, PassedThroughTextStopsNothing) {
  StopText text({"ab"});
  EXPECT_EQ(text.PassThrough("ab a"), "ab a");
  EXPECT_EQ(text.Push("b ab"), "b ");  // the a before the border does not count
  EXPECT_TRUE(text.stopped());
}

TEST(ValidateStopStrings, Refuses) {
  EXPECT_TRUE(ValidateStopStrings({"a", "é"}).ok());
  EXPECT_THAT(std::string(ValidateStopStrings({"a", ""}).message()), HasSubstr("stop is an empty string"));
  EXPECT_THAT(std::string(ValidateStopStrings({"a\xC3"}).message()), HasSubstr("byte 1"));
}

}  // namespace
}  // namespace photon
