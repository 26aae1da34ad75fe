#include "launch/token_json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace photon {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::string Error(const std::string& text) {
  const auto tokens = ParseTokenJson(text, "ids.json");
  EXPECT_EQ(tokens.status().code(), absl::StatusCode::kInvalidArgument) << text;
  return std::string(tokens.status().message());
}

TEST(TokenJson, ReadsArrays) {
  EXPECT_THAT(*ParseTokenJson("[1, 0,2147483647]\n", "f"), ElementsAre(1, 0, 2147483647));
  EXPECT_THAT(*ParseTokenJson("[]", "f"), IsEmpty());
}

TEST(TokenJson, ErrorsNameFileAndElement) {
  EXPECT_THAT(Error("[1, 2, -3]"), HasSubstr("ids.json: element 2 (counted from 0) is -3"));
  EXPECT_THAT(Error("[1, 2.0]"), HasSubstr("element 1 (counted from 0) is 2.0"));
  EXPECT_THAT(Error("[\"a\"]"), HasSubstr("element 0 (counted from 0) is \"a\""));
  EXPECT_THAT(Error("[[1, 2]]"), HasSubstr("element 0 (counted from 0) is [1,2]"));
  EXPECT_THAT(Error("[true]"), HasSubstr("element 0"));
  EXPECT_THAT(Error("[null]"), HasSubstr("element 0"));
  EXPECT_THAT(Error("[2147483648]"), HasSubstr("element 0"));
  EXPECT_THAT(Error("[18446744073709551616]"), HasSubstr("element 0"));
  EXPECT_THAT(Error("{\"a\": 1}"), HasSubstr("holds object"));
  EXPECT_THAT(Error("7"), HasSubstr("holds number"));
  EXPECT_THAT(Error("[1, 2"), HasSubstr("not valid JSON"));
  EXPECT_THAT(Error(""), HasSubstr("not valid JSON"));
  EXPECT_LT(Error("[\"" + std::string(10000, 'x') + "\"]").size(), 300u);
}

TEST(TokenJson, MissingFile) {
  const auto tokens = ReadTokenJson("/no/ids.json");
  EXPECT_EQ(tokens.status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(tokens.status().message()), HasSubstr("/no/ids.json"));
  EXPECT_EQ(ReadTokenJson("/tmp").status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(TokenJson, Writes) {
  EXPECT_EQ(TokenJson({}), "[]");
  EXPECT_EQ(TokenJson({5, 0, 7}), "[5,0,7]");
}

}  // namespace
}  // namespace photon
