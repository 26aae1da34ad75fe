#include "study/report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace photon::study {
namespace {

using ::testing::HasSubstr;

TEST(StudyReport, SaysHowFarSpeedsWereDisturbed) {
  Results results;
  results.points = {{.kind = Kind::kVanilla, .size = "d64", .losses = {5}, .speed = {.disturbance = 1.1}},
                    {.kind = Kind::kPhoton, .size = "d64", .losses = {4}, .speed = {.disturbance = 1.7}}};
  EXPECT_THAT(ToMarkdown(results), HasSubstr("the slowest of a model took up to 1.70 times as long."));
}

TEST(StudyReport, PathsNeedNotBeUtf8) {
  Results results;
  results.options.train = "data/caf\xe9";
  EXPECT_THAT(ToJson(results), HasSubstr("\"train\": \"data/caf\xef\xbf\xbd\""));
}

}  // namespace
}  // namespace photon::study
