#include "tests/parallel/threads.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "parallel/communicator.h"
#include "tests/parallel/collective_checks.h"

namespace photon::testing {
namespace {

using ::testing::HasSubstr;

using Check = void (*)(Communicator&);
struct Case {
  const char* name;
  Check check;
  friend void PrintTo(const Case& c, std::ostream* out) { *out << c.name; }
};

class ThreadsTest : public ::testing::TestWithParam<std::tuple<Case, int>> {};

TEST_P(ThreadsTest, Check) {
  const auto& [test, ranks] = GetParam();
  OnThreads(ranks, test.check);
}

INSTANTIATE_TEST_SUITE_P(
    Collectives, ThreadsTest,
    ::testing::Combine(::testing::Values(Case{"AllReduce", CheckAllReduce}, Case{"Nan", CheckAllReduceNan},
                                         Case{"GatherAndScatter", CheckGatherAndScatter},
                                         Case{"Broadcast", CheckBroadcast}, Case{"Arguments", CheckArguments},
                                         Case{"Split", CheckSplit}, Case{"SmallValues", CheckSmallValues},
                                         Case{"Mesh", CheckMesh}, Case{"MeshGroups", CheckMeshGroups},
                                         Case{"BytesSent", CheckBytesSent}, Case{"SideChannel", CheckSideChannel}),
                       ::testing::Values(1, 2, 3, 5)),
    [](const auto& info) { return std::get<0>(info.param).name + std::to_string(std::get<1>(info.param)); });

INSTANTIATE_TEST_SUITE_P(
    PointToPoint, ThreadsTest,
    ::testing::Combine(::testing::Values(Case{"SendReceive", CheckSendReceive}, Case{"Posts", CheckPosts},
                                         Case{"WrongSize", CheckMessageOfWrongSize}),
                       ::testing::Values(2, 3, 5)),
    [](const auto& info) { return std::get<0>(info.param).name + std::to_string(std::get<1>(info.param)); });

TEST(ThreadsMismatchTest, EveryRankIsToldWhoCalledWhat) {
  OnThreads(3, [](Communicator& comm) {
    std::vector<float> values(comm.rank() == 2 ? 5 : 4);
    const Tensor tensor = Tensor::Wrap(values.data(), {static_cast<int64_t>(values.size())}, DType::kF32);
    const absl::Status sizes = comm.AllReduce("gradients", tensor, Reduction::kSum);
    EXPECT_EQ(sizes.code(), absl::StatusCode::kInternal);
    EXPECT_THAT(sizes.message(), HasSubstr("rank 2 calls all-reduce f32 of 5 elements"));

    const Tensor four = tensor.Rows(0, 4);
    const absl::Status calls =
        comm.rank() == 1 ? comm.Barrier("step") : comm.AllReduce("gradients", four, Reduction::kSum);
    EXPECT_EQ(calls.code(), absl::StatusCode::kInternal);
    EXPECT_THAT(calls.message(), HasSubstr("rank 1 calls barrier"));

    const absl::Status operations =
        comm.AllReduce("gradients", four, comm.rank() == 1 ? Reduction::kMax : Reduction::kSum);
    EXPECT_EQ(operations.code(), absl::StatusCode::kInternal);
    EXPECT_EQ(comm.Broadcast("weights", four, comm.rank() == 0 ? 1 : 0).code(), absl::StatusCode::kInternal);

    const Tensor as_ints = Tensor::Wrap(values.data(), {4}, DType::kI32);
    EXPECT_EQ(comm.AllReduce("gradients", comm.rank() == 0 ? as_ints : four, Reduction::kSum).code(),
              absl::StatusCode::kInternal);
    EXPECT_EQ(comm.AllReduce("and goes on", four, Reduction::kSum), absl::OkStatus());
  });
}

TEST(ThreadsTest, RemembersTheLastSixteenCalls) {
  OnThreads(2, [](Communicator& comm) {
    EXPECT_EQ(comm.RecentCalls(), "");
    EXPECT_EQ(comm.SecondsInCall(), 0);
    std::vector<float> values(6);
    for (int i = 0; i < 20; ++i) EXPECT_EQ(comm.Barrier("step " + std::to_string(i)), absl::OkStatus());
    const Tensor matrix = Tensor::Wrap(values.data(), {2, 3}, DType::kF32);
    EXPECT_EQ(comm.AllReduce("gradients", matrix, Reduction::kSum), absl::OkStatus());
    const std::string text = comm.RecentCalls();
    EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 16);
    EXPECT_EQ(text.substr(0, text.find('\n')), "#6 barrier step 5 done");
    EXPECT_THAT(text, ::testing::EndsWith("#20 barrier step 19 done\n#21 all-reduce gradients f32[2, 3] done\n"));
    EXPECT_EQ(comm.SecondsInCall(), 0);
  });
}

TEST(SelfTest, IsAGroupOfOne) {
  const std::unique_ptr<Communicator> self = SelfCommunicator();
  for (Check check : {CheckAllReduce, CheckAllReduceNan, CheckGatherAndScatter, CheckBroadcast, CheckArguments,
                      CheckSplit, CheckSmallValues, CheckMesh, CheckMeshGroups, CheckBytesSent, CheckSideChannel}) {
    check(*self);
  }
}

}  // namespace
}  // namespace photon::testing
