#include "inference/selection.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace photon::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

Continuation Of(const std::string& text, std::vector<double> log_probabilities) {
  Continuation continuation;
  continuation.text = text;
  for (const double value : log_probabilities) continuation.choices.push_back({.token = 0, .log_probability = value});
  return continuation;
}

TEST(BestOf, OrdersByMeanNotBySum) {
  const std::vector<Continuation> all = {Of("", {-1, -1, -1}), Of("", {-2}), Of("", {}), Of("", {-0.5, -1.5})};
  EXPECT_THAT(BestOf(all, 2), ElementsAre(0, 3));
  EXPECT_THAT(BestOf(all, 9), ElementsAre(0, 3, 1, 2));
  EXPECT_TRUE(BestOf({}, 3).empty());
}

TEST(AnswerPattern, TheLastMatchAndItsFirstGroup) {
  std::string answer;
  EXPECT_TRUE(AnswerPattern::Compile("[0-9]+")->Find("12 and 345.", &answer));
  EXPECT_EQ(answer, "345");
  EXPECT_TRUE(AnswerPattern::Compile("is (\\w+)")->Find("it is red, is blue", &answer));
  EXPECT_EQ(answer, "blue");
  EXPECT_FALSE(AnswerPattern::Compile("x")->Find("abc", &answer));
  EXPECT_TRUE(AnswerPattern::Compile("x*")->Find("abc", &answer));  // empty matches come to an end
  EXPECT_THAT(std::string(AnswerPattern::Compile("(").status().message()), HasSubstr("no regular expression"));
}

TEST(MajorityVote, MostVotesThenTheBestContinuation) {
  const AnswerPattern digits = *AnswerPattern::Compile("[0-9]+");
  const std::vector<Continuation> all = {Of("7", {-0.1}), Of("so 5", {-3}), Of("no answer", {-0.01}), Of("5", {-2}),
                                         Of("7", {-5})};
  const Vote vote = MajorityVote(all, digits);  // two for 7, two for 5: 7's best is better
  EXPECT_EQ(vote.answer, "7");
  EXPECT_EQ(vote.votes, 2);
  EXPECT_EQ(vote.answers, 4);
  EXPECT_EQ(vote.continuation, 0);
  const Vote most = MajorityVote(absl::MakeConstSpan(all).subspan(1, 3), digits);
  EXPECT_EQ(most.answer, "5");
  EXPECT_EQ(most.continuation, 2);
  const Vote none = MajorityVote(absl::MakeConstSpan(all).subspan(2, 1), digits);
  EXPECT_EQ(none.votes, 0);
  EXPECT_EQ(none.continuation, 0);
}

}  // namespace
}  // namespace photon::testing
