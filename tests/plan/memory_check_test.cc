// A run that does not fit the memory is refused with what it needs and what would fit.
#include "plan/memory_check.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "configs/config.h"
#include "plan/dry_run.h"
#include "tests/plan/small_run.h"
#include "tests/support/config_fields.h"

namespace photon {
namespace {

using ::testing::HasSubstr;

RunConfig SmallModelRun() {
  return testing::WithFields(testing::SmallRun(),
                             {"training.batch_sequences=8", "training.micro_batch_sequences=1", "parallel.dp=4"});
}

TEST(FitsMemory, IsThePeakOfADryRun) {
  const RunConfig config = SmallModelRun();
  const auto peak = static_cast<double>(RunDry(Resolved(config, 4), 4, {})->ranks[1].memory.peak());
  EXPECT_TRUE(FitsMemory(config, 1, 4, peak).ok());
  const absl::Status status = FitsMemory(config, 1, 4, peak - 1);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("rank 1 needs "));
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("Layouts of 4 rank(s) that fit: dp 4, pp 1, cp 1, tp 1, shard: OPTIMIZER ("));
}

TEST(FitsMemory, SaysNothingOfLayoutsWhereNoneFits) {
  const absl::Status status = FitsMemory(SmallModelRun(), 0, 4, 1000);
  EXPECT_THAT(std::string(status.message()), ::testing::Not(HasSubstr("Layouts of")));
  EXPECT_THAT(std::string(status.message()), HasSubstr("see photon plan"));
}

}  // namespace
}  // namespace photon
