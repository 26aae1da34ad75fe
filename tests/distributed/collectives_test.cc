#include <gtest/gtest.h>

#include "tests/distributed/world.h"
#include "tests/parallel/collective_checks.h"

namespace photon::testing {
namespace {

TEST(MpiTest, AllReduce) { CheckAllReduce(World()); }
TEST(MpiTest, AllReduceNan) { CheckAllReduceNan(World()); }
TEST(MpiTest, GatherAndScatter) { CheckGatherAndScatter(World()); }
TEST(MpiTest, Broadcast) { CheckBroadcast(World()); }
TEST(MpiTest, Arguments) { CheckArguments(World()); }
TEST(MpiTest, Split) { CheckSplit(World()); }
TEST(MpiTest, SmallValues) { CheckSmallValues(World()); }
TEST(MpiTest, Mesh) { CheckMesh(World()); }
TEST(MpiTest, MeshGroups) { CheckMeshGroups(World()); }
TEST(MpiTest, BytesSent) { CheckBytesSent(World()); }
TEST(MpiTest, SideChannel) { CheckSideChannel(World()); }

TEST(MpiTest, SendReceive) { CheckSendReceive(World()); }
TEST(MpiTest, Posts) { CheckPosts(World()); }
TEST(MpiTest, MessageOfWrongSize) { CheckMessageOfWrongSize(World()); }

// Tensors above the limit of one call go in pieces; 2^30 elements are out of a test's reach, 1000 are not.
TEST(MpiTest, InPieces) {
  const auto world = MpiWorld(/*max_count=*/1000);
  ASSERT_EQ(world.status(), absl::OkStatus());
  CheckAllReduce(**world);
  CheckGatherAndScatter(**world);
  CheckBroadcast(**world);
  CheckSendReceive(**world);
  CheckPosts(**world);
}

// The second thread's twin sleeps while it waits, in small reductions too.
TEST(MpiTest, InTheBackground) {
  const auto background = World().ForBackground();
  ASSERT_EQ(background.status(), absl::OkStatus());
  CheckAllReduce(**background);
  CheckAllReduceNan(**background);
  CheckGatherAndScatter(**background);
}

}  // namespace
}  // namespace photon::testing
