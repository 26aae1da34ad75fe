#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "parallel/communicator.h"
#include "tests/parallel/collective_checks.h"

namespace photon::testing {
namespace {

// Without a launcher. Under mpirun: tests/distributed/.
TEST(MpiTest, AloneItIsAGroupOfOne) {
  for (int time = 0; time < 2; ++time) {  // the world can be asked for again
    const auto world = MpiWorld();
    ASSERT_EQ(world.status(), absl::OkStatus());
    EXPECT_EQ((*world)->size(), 1);
    EXPECT_EQ((*world)->rank(), 0);
    for (auto* check : {CheckAllReduce, CheckAllReduceNan, CheckGatherAndScatter, CheckBroadcast, CheckArguments,
                        CheckSplit, CheckSmallValues, CheckMesh, CheckMeshGroups, CheckBytesSent, CheckSideChannel}) {
      check(**world);
    }
  }
}

TEST(MpiDeathTest, AbortEndsWithItsCode) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");  // a fork would share the parent's MPI
  EXPECT_EXIT((*MpiWorld())->Abort(3), ::testing::ExitedWithCode(3), "");
}

}  // namespace
}  // namespace photon::testing
