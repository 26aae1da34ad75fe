// Expected texts are what lm-evaluation-harness's own Python gives.
#include <gtest/gtest.h>

#include "data/letter_case.h"
#include "data/utf8.h"
#include "inference/eval/clean_up.h"

namespace photon::eval {
namespace {

TEST(EvalCleanUp, WhiteSpaceIsPythons) {
  EXPECT_EQ(Strip(" \t\n\x0b\f\r\x1c\x1f\u0085\u00a0\u2003\u3000x y\u2028 "), "x y");
  EXPECT_EQ(StripLeft("  x "), "x ");
  EXPECT_EQ(StripRight("  x "), "  x");
  EXPECT_EQ(Strip("\u200bx"), "\u200bx") << "a zero-width space is no white space";
  EXPECT_EQ(Strip(" \n "), "");
}

TEST(EvalCleanUp, CountsAsPythonDoes) {
  EXPECT_EQ(CountWords(""), 1);  // re.split gives one empty string
  EXPECT_EQ(CountWords("one"), 1);
  EXPECT_EQ(CountWords(" one  two\n"), 4);  // and empty ones at the ends
  EXPECT_EQ(CountWords("one\u00a0\u2003two"), 2);
  EXPECT_EQ(CountCharacters("Łódź"), 4);
  EXPECT_EQ(CountCharacters("\U0001f600"), 1);
}

TEST(EvalCleanUp, DetokenizesWikitext) {
  const std::pair<const char*, const char*> cases[] = {
      {"1 @,@ 812 , 3 @.@ 5 and well @-@ kept .", "1,812, 3.5 and well-kept ."},
      {"so ; it : was . Why ? Now ! ", "so; it: was. Why? Now! "},
      {"it stood \" near the bridge \" ( now  lost )", "it stood \"near the bridge\" (now  lost)"},
      {"[ a ] { b } ( ( c ) )", "[a] {b} (( c) )"},
      {"\" open", "\" open"},
      {"= = = = A = = = =\n = = = B = = = \n = = C = = ", "==== A ====\n=== B ===\n== C == "},
      {"4 \u00b0 below", "4\u00b0below"},
      {"the workers ' carts", "the workers' carts"},
      {"the mill 's wheel", "the mill's wheel"},
      {"in N houses", "in 1 houses"},
      {"/' 3/", "/'[0-9]/"},
  };
  for (const auto& [page, text] : cases) EXPECT_EQ(DetokenizeWikitext(page), text) << page;
}

TEST(EvalCleanUp, CleansHellaSwag) {
  const std::pair<const char*, const char*> cases[] = {
      {" Home [header] How to [title] Fill it. ", "Home How to. Fill it."},
      {"a [b [c] d] e", "a d] e"},
      {"a [b\n] c", "a [b\n] c"},  // Python's dot stops at the end of a line
      {"[substeps] Pour", " Pour"},
      {"a   b", "a  b"},  // replaced once, from left to right
  };
  for (const auto& [text, clean] : cases) EXPECT_EQ(CleanHellaSwag(text), clean) << text;
}

TEST(EvalCleanUp, Capitalizes) {
  EXPECT_EQ(Capitalize("the Man and HIS dog"), "The man and his dog");
  EXPECT_EQ(Capitalize(""), "");
  EXPECT_EQ(Capitalize("\u00e9MILE \u00c0"), "\u00c9mile \u00e0");
  EXPECT_EQ(Capitalize("\u01c6X"), "\u01c5x") << "title case, not upper case";
  EXPECT_EQ(Capitalize("3 MEN"), "3 men");
}

}  // namespace
}  // namespace photon::eval
