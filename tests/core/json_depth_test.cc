#include "core/json_depth.h"

#include <gtest/gtest.h>

#include <string>

namespace photon {
namespace {

std::string Nested(int depth) { return std::string(depth, '[') + std::string(depth, ']'); }

TEST(JsonDepth, CountsWhatIsOpenAtOnce) {
  EXPECT_FALSE(JsonTooDeep(Nested(kMostJsonDepth)));
  EXPECT_TRUE(JsonTooDeep(Nested(kMostJsonDepth + 1)));
  std::string many;
  for (int i = 0; i < 1000; ++i) many += "{\"a\": []},";
  EXPECT_FALSE(JsonTooDeep(many));
}

TEST(JsonDepth, StringsHoldNoBrackets) {
  EXPECT_FALSE(JsonTooDeep("\"" + std::string(1000, '[') + "\""));
  EXPECT_FALSE(JsonTooDeep("\"\\\"" + std::string(1000, '[') + "\""));
  EXPECT_TRUE(JsonTooDeep("\"\\\\\"" + std::string(1000, '[')));
}

std::string Fields(int count) {
  std::string fields;
  for (int i = 0; i < count; ++i) fields += "\"a:b\": 1,";
  return fields;
}

TEST(JsonDepth, CountsFields) {
  EXPECT_FALSE(JsonTooWide(Fields(kMostJsonFields)));
  EXPECT_TRUE(JsonTooWide(Fields(kMostJsonFields + 1)));
  EXPECT_FALSE(JsonTooWide("\"" + std::string(kMostJsonFields + 1, ':') + "\""));
}

}  // namespace
}  // namespace photon
