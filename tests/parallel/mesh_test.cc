#include "parallel/mesh.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace photon {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

ParallelConfig Sizes(int dp, int pp, int cp, int tp) {
  ParallelConfig config;
  if (dp != 0) config.set_dp(dp);
  config.set_pp(pp);
  config.set_cp(cp);
  config.set_tp(tp);
  return config;
}

TEST(MeshSizes, DataParallelTakesWhatTheOthersLeave) {
  EXPECT_THAT(*MeshSizes(Sizes(0, 2, 1, 3), 24), ElementsAre(4, 2, 1, 3));
  EXPECT_THAT(*MeshSizes(Sizes(4, 2, 1, 3), 24), ElementsAre(4, 2, 1, 3));
  EXPECT_THAT(*MeshSizes(ParallelConfig(), 5), ElementsAre(5, 1, 1, 1));
}

TEST(MeshSizes, RefusesWithWhatWouldFit) {
  EXPECT_THAT(MeshSizes(Sizes(3, 2, 1, 1), 8).status().message(),
              AllOf(HasSubstr("dp * pp * cp * tp = 3 * 2 * 1 * 1 = 6"), HasSubstr("the job has 8"),
                    HasSubstr("start 6, or set parallel.dp = 4")));
  EXPECT_THAT(MeshSizes(Sizes(0, 2, 1, 3), 8).status().message(),
              AllOf(HasSubstr("= 6 does not divide the 8"), HasSubstr("start 6 or 12"), HasSubstr("smaller")));
  EXPECT_THAT(MeshSizes(Sizes(0, 4, 2, 1), 3).status().message(), HasSubstr("start 8, or make"));
  EXPECT_THAT(MeshSizes(Sizes(1, 4, 2, 1), 3).status().message(), HasSubstr("start 8 ("));
  for (const ParallelConfig& config : {Sizes(-1, 1, 1, 1), Sizes(0, 0, 1, 1), Sizes(0, 1, -2, 1), Sizes(0, 1, 1, 0)}) {
    const absl::Status status = MeshSizes(config, 4).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(status.message(), HasSubstr("use 1 or more"));
  }
}

TEST(MeshSizes, TensorParallelRanksAreNeighbours) {
  const std::array<int, kMeshAxes> sizes = {2, 3, 2, 2};
  EXPECT_THAT(CoordinatesOf(0, sizes).index, ElementsAre(0, 0, 0, 0));
  EXPECT_THAT(CoordinatesOf(1, sizes).index, ElementsAre(0, 0, 0, 1));
  EXPECT_THAT(CoordinatesOf(2, sizes).index, ElementsAre(0, 0, 1, 0));
  EXPECT_THAT(CoordinatesOf(4, sizes).index, ElementsAre(0, 1, 0, 0));
  EXPECT_THAT(CoordinatesOf(23, sizes).index, ElementsAre(1, 2, 1, 1));
}

}  // namespace
}  // namespace photon
