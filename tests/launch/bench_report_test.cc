#include "launch/bench_report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "tests/support/temporary_folder.h"

namespace photon::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

// 1 KiB a sequence; one sequence writes a token a second, more are `speed` as fast.
PaperRow Row(const std::string& model, int64_t largest, double speed) {
  PaperRow row = {.model = model, .mode = GenerationMode::kHier, .shape = {"DE", 128, 2048}};
  row.result.memory_per_sequence = 1024;
  row.result.runs = {{.batch = 1, .seconds = 1, .tokens_per_s = 1},
                     {.batch = largest, .seconds = 1, .tokens_per_s = speed}};
  return row;
}

TEST(BenchReport, ComparesEachAtItsLargestBatch) {
  const std::string text =
      CompareKinds({Row("vanilla-600m", 8, 4), Row("photon-600m", 32, 50), Row("block-900m", 8, 9)});
  EXPECT_THAT(text,
              AllOf(HasSubstr("      1           1        1.00 x"), HasSubstr("     32           8       12.50 x")));
  EXPECT_THAT(text, Not(HasSubstr("block-900m")));
  // Where these are equal, once.
  const std::string equal = CompareKinds({Row("vanilla-600m", 8, 4), Row("photon-600m", 8, 50)});
  EXPECT_EQ(std::count(equal.begin(), equal.end(), '\n'), std::count(text.begin(), text.end(), '\n')) << equal;
}

// The paper's figures stand beside models of the paper's size alone: in the table, in JSON and in the picture.
TEST(BenchReport, ThePapersFiguresAreOfFullSize) {
  const TemporaryFolder folder;
  PaperRow row = Row("photon-600m", 32, 50);
  for (const bool full : {false, true}) {
    row.full_size = full;
    const auto picture = WantedPicture::Open(folder / "it.png");
    ASSERT_TRUE(picture.ok() && DrawRows({row}, *picture).ok());
    EXPECT_EQ(folder.Read("it.gnuplot").find("3062.17") != std::string::npos, full);
    EXPECT_EQ(folder.Read("it.gnuplot").find("the paper") != std::string::npos, full);
    EXPECT_EQ(ToJson({row}, "cpu", "bf16", true).find("3062.17") != std::string::npos, full);
    EXPECT_EQ(DescribeRow(row).find("3062.17") != std::string::npos, full);
  }
}

// A checkpoint's path has any bytes.
TEST(BenchReport, PathsNeedNotBeUtf8) {
  EXPECT_THAT(ToJson({Row("runs/caf\xe9", 8, 4)}, "cpu", "bf16", true), HasSubstr("\"runs/caf\xef\xbf\xbd\""));
}

}  // namespace
}  // namespace photon::testing
