#include "launch/generate_output.h"

#include <gtest/gtest.h>

#include <sstream>

namespace photon::testing {
namespace {

TEST(TextsInOrder, ShowsTheFirstAsItComesAndOthersInTheirTurn) {
  std::ostringstream out;
  TextsInOrder texts(out, 3);
  texts.Add(1, "be", /*done=*/false);
  EXPECT_EQ(out.str(), "[1/3]\n");
  texts.Add(0, "al", false);
  EXPECT_EQ(out.str(), "[1/3]\nal");
  texts.Add(2, "gamma", true);
  texts.Add(1, "ta", false);
  texts.Add(0, "pha", true);
  EXPECT_EQ(out.str(), "[1/3]\nalpha\n[2/3]\nbeta");
  texts.Add(1, "", true);
  EXPECT_EQ(out.str(), "[1/3]\nalpha\n[2/3]\nbeta\n[3/3]\ngamma\n");
}

TEST(TextsInOrder, OneHasNoHeading) {
  std::ostringstream out;
  TextsInOrder texts(out, 1);
  texts.Add(0, "a", false);
  texts.Add(0, "b", true);
  EXPECT_EQ(out.str(), "ab\n");
}

}  // namespace
}  // namespace photon::testing
