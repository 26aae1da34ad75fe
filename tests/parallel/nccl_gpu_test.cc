// The real NCCL on a real GPU, which holds one rank of it. Skipped where there is none.
#include <gtest/gtest.h>

#include <vector>

#include "core/cuda_module.h"
#include "core/device.h"
#include "parallel/communicator.h"

namespace photon::testing {
namespace {

TEST(NcclOnGpu, OneRankReducesGathersAndBroadcasts) {
  const auto device = OpenedDevice::Open("cuda");
  if (!device.ok()) GTEST_SKIP() << device.status().message();
  const cuda::Module* module = *LoadCudaModule();
  if (const absl::Status usable = module->check_nccl(); !usable.ok()) GTEST_SKIP() << usable.message();
  const Context context = (*device)->MakeContext(nullptr);
  const auto opened = module->open_nccl(SelfCommunicator(), context);
  ASSERT_TRUE(opened.ok()) << opened.status();
  Communicator& comm = **opened;
  EXPECT_EQ(comm.name(), "nccl");

  std::vector<float> values(1 << 20);
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i % 1000);
  const Shape shape = {static_cast<int64_t>(values.size())};
  const auto read = [&](const Tensor& tensor) {
    std::vector<float> read(values.size());
    context.ToHost(tensor, read.data());
    return read;
  };
  const Tensor x = context.FromHost(values.data(), shape, DType::kF32), y = context.Zeros(shape, DType::kF32);
  ASSERT_EQ(comm.AllReduce("x", x, Reduction::kSum), absl::OkStatus());
  EXPECT_EQ(read(x), values);
  ASSERT_EQ(comm.AllGather("x", x, y), absl::OkStatus());
  EXPECT_EQ(read(y), values);
  const Tensor z = context.Zeros(shape, DType::kF32);
  ASSERT_EQ(comm.ReduceScatter("x", x, z), absl::OkStatus());
  EXPECT_EQ(read(z), values);
  ASSERT_EQ(comm.Broadcast("x", z, 0), absl::OkStatus());
  EXPECT_EQ(read(z), values);
  EXPECT_EQ(comm.LateError(), absl::OkStatus());

  const auto twin = comm.ForBackground();
  ASSERT_TRUE(twin.ok()) << twin.status();
  ASSERT_EQ((*twin)->AllReduce("bucket", x, Reduction::kSum), absl::OkStatus());
  EXPECT_EQ(read(x), values);
}

}  // namespace
}  // namespace photon::testing
