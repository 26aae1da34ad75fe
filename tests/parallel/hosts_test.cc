#include "parallel/hosts.h"

#include <gmock/gmock.h>
#include <unistd.h>

#include "tests/parallel/threads.h"

namespace photon::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

const std::vector<std::string> kTwoHosts = {"a", "a", "a", "b", "b", "b"};

TEST(HostsTest, EveryRankKnowsAll) {
  char name[65] = {};
  gethostname(name, 64);
  OnThreads(3, [&](Communicator& comm) {
    const auto hosts = GatherHosts(comm);
    ASSERT_EQ(hosts.status(), absl::OkStatus());
    EXPECT_EQ(*hosts, std::vector<std::string>(3, name));
  });
}

TEST(HostsTest, DescribesRanks) {
  EXPECT_EQ(DescribeRanks({4}, kTwoHosts), "rank 4 (b)");
  EXPECT_EQ(DescribeRanks({0, 1, 2}, kTwoHosts), "ranks 0-2 (a)");
  EXPECT_EQ(DescribeRanks({0, 2, 3, 5}, kTwoHosts), "ranks 0, 2-3, 5 (2 hosts)");
}

TEST(HostsTest, DescribesHosts) {
  EXPECT_EQ(DescribeHosts({"a"}), "rank 0 on a");
  EXPECT_EQ(DescribeHosts(kTwoHosts), "ranks 0-2 on a, 3-5 on b");
  EXPECT_EQ(DescribeHosts({"a", "b", "a", "b"}), "ranks 0, 2 on a, 1, 3 on b");
  std::vector<std::string> many;
  for (int i = 0; i < 34; ++i) many.push_back(std::to_string(i / 2));
  EXPECT_EQ(DescribeHosts(many), "34 ranks on 17 hosts");
}

TEST(HostsTest, TensorParallelismStaysInsideAMachine) {
  EXPECT_EQ(TensorParallelAcrossHosts({6, 1, 1, 1}, kTwoHosts), "");
  EXPECT_EQ(TensorParallelAcrossHosts({2, 1, 1, 3}, kTwoHosts), "");
  EXPECT_EQ(TensorParallelAcrossHosts({1, 2, 1, 2}, {"a", "a", "b", "b"}), "");
  // Enough ranks on a machine, in the wrong order.
  EXPECT_THAT(TensorParallelAcrossHosts({2, 1, 1, 2}, {"a", "b", "a", "b"}),
              AllOf(HasSubstr("parallel.tp = 2 crosses machines: rank 0 on a and rank 1 on b"),
                    HasSubstr("Start the ranks machine by machine, a multiple of 2 on each")));
  EXPECT_THAT(TensorParallelAcrossHosts({1, 1, 1, 6}, kTwoHosts),
              AllOf(HasSubstr("rank 0 on a and rank 3 on b"), HasSubstr("Make parallel.tp smaller")));
  // The second group only.
  EXPECT_THAT(TensorParallelAcrossHosts({3, 1, 1, 2}, kTwoHosts), HasSubstr("rank 2 on a and rank 3 on b"));
}

}  // namespace
}  // namespace photon::testing
