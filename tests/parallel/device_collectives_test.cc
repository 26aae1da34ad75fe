// Collectives of device tensors: over NCCL (a stand-in) and by way of the host, on emulated GPUs.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <thread>

#include "absl/synchronization/notification.h"
#include "core/cuda/opened_device.h"
#include "core/ops/elementwise.h"
#include "parallel/cuda/nccl.h"
#include "parallel/device_group.h"
#include "parallel/reduce.h"
#include "parallel/staged.h"
#include "parallel/watchdog.h"
#include "tests/parallel/collective_checks.h"
#include "tests/parallel/fake_nccl.h"
#include "tests/parallel/threads.h"
#include "tests/simt/emulator/device.h"

namespace photon::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

// A rank: a communicator that reaches the memory of a GPU.
struct Rank {
  Communicator& comm;
  const Context& context;
};
using Body = std::function<void(const Rank&)>;
enum class Kind { kNccl, kStaged };

// body(rank) on threads; over NCCL each has a GPU of its own, by way of the host all share one.
void OnGpus(Kind kind, int ranks, const Body& body) {
  simt::SetDeviceCount(8);
  std::vector<std::unique_ptr<Communicator>> hosts = ThreadCommunicators(ranks);
  std::vector<std::thread> threads;
  for (int r = 0; r < ranks; ++r) {
    threads.emplace_back([&, r] {
      const auto device = cuda::OpenCudaDevice(kind == Kind::kNccl ? r : 0);
      ASSERT_TRUE(device.ok()) << device.status();
      const Context context = (*device)->MakeContext(nullptr);
      auto comm = kind == Kind::kNccl ? cuda::NcclCommunicator(FakeNccl(), std::move(hosts[r]), context)
                                      : StagedCommunicator(std::move(hosts[r]), context);
      ASSERT_TRUE(comm.ok()) << comm.status();
      body({**comm, context});
      EXPECT_EQ((*comm)->Barrier("end"), absl::OkStatus());
    });
  }
  for (std::thread& thread : threads) thread.join();
}

class DeviceCollectives : public ::testing::TestWithParam<std::tuple<Kind, int>> {
 protected:
  void Run(const Body& body) { OnGpus(std::get<0>(GetParam()), std::get<1>(GetParam()), body); }
};
INSTANTIATE_TEST_SUITE_P(All, DeviceCollectives,
                         ::testing::Combine(::testing::Values(Kind::kNccl, Kind::kStaged), ::testing::Values(1, 2, 3)),
                         [](const auto& info) {
                           return (std::get<0>(info.param) == Kind::kNccl ? "Nccl" : "Staged") +
                                  std::to_string(std::get<1>(info.param));
                         });

// Element i of rank r's tensor: exact in every type, and so are sums over a few ranks.
double Value(int rank, int64_t i) { return static_cast<double>((i * 7 + rank * 5) % 16); }

template <typename T>
std::vector<T> Values(int rank, int64_t n) {
  std::vector<T> values(n);
  for (int64_t i = 0; i < n; ++i) {
    if constexpr (std::is_same_v<T, BFloat16>) {
      values[i] = BFloat16(static_cast<float>(Value(rank, i)));
    } else {
      values[i] = static_cast<T>(Value(rank, i));
    }
  }
  return values;
}

template <typename T>
std::vector<T> FromDevice(const Context& context, const Tensor& tensor) {
  std::vector<T> values(tensor.elements());
  context.ToHost(tensor, values.data());
  return values;
}

template <typename T>
double AsDouble(T value) {
  return static_cast<double>(value);
}

template <typename T>
void CheckType(const Rank& rank) {
  const Context& context = rank.context;
  const int ranks = rank.comm.size(), me = rank.comm.rank();
  for (int64_t n : {0, 1, 5, 1000}) {
    const DType dtype = DTypeOf<T>();
    const auto sum_at = [&](int64_t i) {
      double sum = 0;
      for (int r = 0; r < ranks; ++r) sum += Value(r, i);
      return sum;
    };
    const std::vector<T> mine = Values<T>(me, n * ranks);
    const Tensor whole = context.FromHost(mine.data(), {n * ranks}, dtype);
    const Tensor part = context.Empty({n}, dtype);
    ASSERT_EQ(rank.comm.ReduceScatter("x", whole, part), absl::OkStatus());
    const std::vector<T> scattered = FromDevice<T>(context, part);
    for (int64_t i = 0; i < n; ++i) EXPECT_EQ(AsDouble(scattered[i]), sum_at(me * n + i));

    ASSERT_EQ(rank.comm.AllReduce("x", whole, Reduction::kSum), absl::OkStatus());
    const std::vector<T> reduced = FromDevice<T>(context, whole);
    for (int64_t i = 0; i < n * ranks; ++i) EXPECT_EQ(AsDouble(reduced[i]), sum_at(i));

    const Tensor own = context.FromHost(mine.data(), {n}, dtype);
    ASSERT_EQ(rank.comm.AllGather("x", own, whole), absl::OkStatus());
    const std::vector<T> gathered = FromDevice<T>(context, whole);
    for (int64_t i = 0; i < n * ranks; ++i) EXPECT_EQ(AsDouble(gathered[i]), Value(static_cast<int>(i / n), i % n));

    for (int root = 0; root < ranks; ++root) {
      const Tensor copy = context.FromHost(mine.data(), {n}, dtype);
      ASSERT_EQ(rank.comm.Broadcast("x", copy, root), absl::OkStatus());
      const std::vector<T> got = FromDevice<T>(context, copy);
      for (int64_t i = 0; i < n; ++i) EXPECT_EQ(AsDouble(got[i]), Value(root, i));
    }
  }
}

TEST_P(DeviceCollectives, ReachDeviceMemoryInEveryType) {
  Run([](const Rank& rank) {
    CheckType<double>(rank);
    CheckType<float>(rank);
    CheckType<BFloat16>(rank);
    CheckType<int64_t>(rank);
    CheckType<int32_t>(rank);
    CheckType<uint8_t>(rank);
  });
}

TEST_P(DeviceCollectives, StillReachTheHost) {
  Run([](const Rank& rank) {
    CheckAllReduce(rank.comm);
    CheckAllReduceNan(rank.comm);
    CheckGatherAndScatter(rank.comm);
    CheckBroadcast(rank.comm);
    CheckSmallValues(rank.comm);
    if (rank.comm.size() > 1) CheckSendReceive(rank.comm);
  });
}

TEST_P(DeviceCollectives, WaitForWhatWasQueuedAndAreWaitedFor) {
  Run([](const Rank& rank) {
    const Context& context = rank.context;
    const std::vector<float> ones(1000, 1.0f);
    const Tensor x = context.FromHost(ones.data(), {1000}, DType::kF32);
    const Tensor y = context.FromHost(ones.data(), {1000}, DType::kF32);
    for (int i = 0; i < 5; ++i) {  // x := ranks * (x + 1), with no wait by the host
      ops::Add(context, y, x);
      ASSERT_EQ(rank.comm.AllReduce("x", x, Reduction::kSum), absl::OkStatus());
    }
    double want = 1;
    for (int i = 0; i < 5; ++i) want = rank.comm.size() * (want + 1);
    for (float value : FromDevice<float>(context, x)) EXPECT_EQ(value, want);
  });
}

TEST_P(DeviceCollectives, MessagesAndExtremesOfDeviceTensors) {
  Run([](const Rank& rank) {
    const Context& context = rank.context;
    const int me = rank.comm.rank(), ranks = rank.comm.size();
    const float mine[] = {static_cast<float>(me), me == 0 ? NAN : 1.0f};
    const Tensor extreme = context.FromHost(mine, {2}, DType::kF32);
    ASSERT_EQ(rank.comm.AllReduce("x", extreme, Reduction::kMax), absl::OkStatus());
    const std::vector<float> got = FromDevice<float>(context, extreme);
    EXPECT_EQ(got[0], ranks - 1);
    EXPECT_TRUE(std::isnan(got[1]));
    if (ranks == 1) return;
    const Tensor sent = context.FromHost(mine, {1}, DType::kF32), received = context.Empty({1}, DType::kF32);
    ASSERT_EQ(rank.comm.Send("x", sent, (me + 1) % ranks, 3), absl::OkStatus());
    ASSERT_EQ(rank.comm.Receive("x", received, (me + ranks - 1) % ranks, 3), absl::OkStatus());
    EXPECT_EQ(FromDevice<float>(context, received)[0], (me + ranks - 1) % ranks);
  });
}

TEST_P(DeviceCollectives, SplitIntoGroupsThatReachTheDevice) {
  Run([](const Rank& rank) {
    const int me = rank.comm.rank(), ranks = rank.comm.size();
    auto part = rank.comm.Split(me % 2, -me);
    ASSERT_TRUE(part.ok()) << part.status();
    EXPECT_EQ((*part)->size(), (ranks + 1 - me % 2) / 2);
    const double mine = me;
    const Tensor x = rank.context.FromHost(&mine, {1}, DType::kF64);
    ASSERT_EQ((*part)->AllReduce("x", x, Reduction::kSum), absl::OkStatus());
    double want = 0;
    for (int r = me % 2; r < ranks; r += 2) want += r;
    EXPECT_EQ(FromDevice<double>(rank.context, x)[0], want);
  });
}

TEST(NcclCommunicator, InTheBackgroundReturnsWhenDone) {
  OnGpus(Kind::kNccl, 2, [](const Rank& rank) {
    auto twin = rank.comm.ForBackground();
    ASSERT_TRUE(twin.ok()) << twin.status();
    const std::vector<float> ones(100, 1.0f);
    const Tensor x = rank.context.FromHost(ones.data(), {100}, DType::kF32);
    absl::Status status;
    std::thread reducer([&] { status = (*twin)->AllReduce("bucket", x, Reduction::kSum); });
    reducer.join();
    EXPECT_EQ(status, absl::OkStatus());
    EXPECT_EQ((*twin)->SecondsInCall(), 0);
    for (float value : FromDevice<float>(rank.context, x)) EXPECT_EQ(value, 2);
  });
}

TEST(NcclCommunicator, AnErrorThatComesLateEndsTheJobWithItsName) {
  OnGpus(Kind::kNccl, 2, [](const Rank& rank) {
    const float one = 1;
    const Tensor x = rank.context.FromHost(&one, {1}, DType::kF32);
    ASSERT_EQ(rank.comm.AllReduce("gradients", x, Reduction::kSum), absl::OkStatus());
    rank.context.Synchronize();
    EXPECT_EQ(rank.comm.LateError(), absl::OkStatus());
    ASSERT_EQ(rank.comm.Barrier("before"), absl::OkStatus());
    if (rank.comm.rank() == 0) {
      FailNccl(static_cast<cuda::NcclResult>(6));
      absl::Notification told;
      std::string report;
      {
        const Watchdog watchdog({&rank.comm}, 0.4, [&](Communicator&, const std::string& text) {
          report = text;
          told.Notify();
        });
        told.WaitForNotification();
      }
      FailNccl(cuda::kNcclSuccess);
      EXPECT_THAT(report, AllOf(HasSubstr("nccl rank 0 of 2"), HasSubstr("cuda:0"), HasSubstr("socket closed by peer"),
                                HasSubstr("all-reduce gradients f32[1]")));
    }
    ASSERT_EQ(rank.comm.Barrier("after"), absl::OkStatus());
  });
}

// A rank that never joins leaves the others with a collective that never ends: taken down, their communicators let go.
TEST(NcclCommunicator, WhatNeverEndsIsAborted) {
  const int before = AbortedNccl();
  OnGpus(Kind::kNccl, 2, [](const Rank& rank) {
    absl::StatusOr<std::unique_ptr<Communicator>> group = rank.comm.Split(0, rank.comm.rank());
    ASSERT_TRUE(group.ok()) << group.status();
    const float one = 1;
    const Tensor x = rank.context.FromHost(&one, {1}, DType::kF32);
    if (rank.comm.rank() == 0) {
      ASSERT_EQ((*group)->AllReduce("gradients", x, Reduction::kSum), absl::OkStatus());  // queued
      FailNccl(static_cast<cuda::NcclResult>(6));
      group->reset();
      FailNccl(cuda::kNcclSuccess);
    }
    ASSERT_EQ(rank.comm.Barrier("after"), absl::OkStatus());
  });
  EXPECT_EQ(AbortedNccl(), before + 1);
}

// training.deterministic: of three and more summands, switches of the network may take any first.
TEST(DeviceGroup, ASumsOrderIsKnownOrRefused) {
  OnGpus(Kind::kNccl, 3, [](const Rank& rank) {
    for (const char* good : {"Ring", "tree", "RING,Tree"}) EXPECT_EQ(CheckSumOrder(rank.comm, good), absl::OkStatus());
    for (const char* bad : {"", "NVLS", "Ring,NVLSTree", "^Ring", "CollnetDirect"}) {
      const absl::Status status = CheckSumOrder(rank.comm, bad);
      EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition) << bad;
      EXPECT_THAT(std::string(status.message()), HasSubstr("set NCCL_ALGO=Ring")) << bad;
    }
    EXPECT_FALSE(CheckSumOrder(rank.comm, nullptr).ok());
  });
  OnGpus(Kind::kNccl, 2, [](const Rank& rank) { EXPECT_EQ(CheckSumOrder(rank.comm, nullptr), absl::OkStatus()); });
  OnGpus(Kind::kStaged, 3, [](const Rank& rank) { EXPECT_EQ(CheckSumOrder(rank.comm, nullptr), absl::OkStatus()); });
}

TEST(DeviceGroup, TakesTheWayByTheHostWhereRanksShareAGpuOrThereIsNoNccl) {
  for (bool shared : {true, false}) {
    simt::SetDeviceCount(8);
    OnThreads(2, [&](Communicator& host) {
      const auto device = cuda::OpenCudaDevice(shared ? 0 : host.rank());
      ASSERT_TRUE(device.ok()) << device.status();
      const Context context = (*device)->MakeContext(nullptr);
      auto twin = host.Split(0, host.rank());
      ASSERT_TRUE(twin.ok());
      auto comm = DeviceGroup(*std::move(twin), **device, context);
      ASSERT_TRUE(comm.ok()) << comm.status();
      const float mine = 1;
      const Tensor x = context.FromHost(&mine, {1}, DType::kF32);
      ASSERT_EQ((*comm)->AllReduce("x", x, Reduction::kSum), absl::OkStatus());
      EXPECT_EQ(FromDevice<float>(context, x)[0], 2);
      EXPECT_EQ((*comm)->ForBackground().status().code(), absl::StatusCode::kFailedPrecondition);
    });
  }
}

}  // namespace
}  // namespace photon::testing
