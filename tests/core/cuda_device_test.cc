// A CUDA device beside its operations, on the emulated GPU: copies, memory that runs out, recorded operations, errors,
// and the choice of matrix products.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <bit>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <numeric>

#include "absl/strings/str_cat.h"
#include "core/backend.h"
#include "core/cuda/algorithm_cache.h"
#include "core/cuda/backend.h"
#include "core/cuda/opened_device.h"
#include "core/file.h"
#include "core/ops/elementwise.h"
#include "core/ops/matmul.h"
#include "core/ops/memory.h"
#include "tests/simt/emulator/device_memory.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/tensors.h"

namespace photon {
namespace {

using testing::FromDoubles;
using ::testing::HasSubstr;
using testing::RandomTensor;
using testing::TemporaryFolder;
using testing::ToDoubles;

TEST(CudaBackend, HasEveryOperation) {
  using Entries = std::array<void (*)(), sizeof(Backend) / sizeof(void (*)())>;
  const Entries cpu = std::bit_cast<Entries>(CpuBackend()), cuda = std::bit_cast<Entries>(cuda::CudaBackend());
  for (size_t i = 0; i < cuda.size(); ++i) {
    EXPECT_NE(cpu[i], nullptr) << "operation " << i << " of Backend";
    EXPECT_NE(cuda[i], nullptr) << "operation " << i << " of Backend";
  }
}

class CudaDevice : public ::testing::Test {
 protected:
  const std::unique_ptr<OpenedDevice> device_ = *cuda::OpenCudaDevice(0);
  const Context context_ = device_->MakeContext(nullptr);
};

TEST_F(CudaDevice, SaysWhatItIs) {
  EXPECT_EQ(device_->device(), (Device{DeviceType::kCuda, 0}));
  EXPECT_THAT(device_->Description(), HasSubstr("compute capability"));
  EXPECT_GT(device_->memory().total, 0u);
  const auto none = cuda::OpenCudaDevice(99);
  EXPECT_EQ(none.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(none.status().message()), HasSubstr("there is no cuda:99; this process sees "));
}

TEST(CudaDeviceSettings, ALengthThatIsNoneIsRefused) {
  const char* const before = std::getenv("PHOTON_WARPGROUPS_FROM");
  const std::string kept = before == nullptr ? "" : before;
  setenv("PHOTON_WARPGROUPS_FROM", "1k", 1);
  const auto device = cuda::OpenCudaDevice(0);
  before == nullptr ? unsetenv("PHOTON_WARPGROUPS_FROM") : setenv("PHOTON_WARPGROUPS_FROM", kept.c_str(), 1);
  EXPECT_EQ(device.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(device.status().message()), HasSubstr("PHOTON_WARPGROUPS_FROM is \"1k\": give the least"));
}

// More bytes than the staging ring holds, and than a piece, in sizes that don't divide it.
TEST_F(CudaDevice, CopiesOfAnySizeArrive) {
  for (const int64_t bytes :
       {int64_t{0}, int64_t{1}, int64_t{4} << 20, (int64_t{4} << 20) + 1, (int64_t{75} << 20) + 3}) {
    std::vector<uint8_t> sent(bytes), got(bytes, 0xee);
    for (int64_t i = 0; i < bytes; ++i) sent[i] = static_cast<uint8_t>(i * 2654435761u >> 13);
    const std::vector<uint8_t> want = sent;
    const Tensor tensor = context_.FromHost(sent.data(), {bytes}, DType::kU8);
    std::fill(sent.begin(), sent.end(), 0xdd);  // it may be reused at once
    context_.ToHost(tensor, got.data());
    EXPECT_EQ(got, want) << bytes;
  }
}

TEST_F(CudaDevice, ManySmallCopiesGoRoundTheRing) {
  std::vector<Tensor> tensors;
  for (int i = 0; i < 3000; ++i) {
    const std::vector<int32_t> values(17, i);
    tensors.push_back(context_.FromHost(values.data(), {17}, DType::kI32));
  }
  for (int i = 0; i < 3000; ++i) {
    std::vector<int32_t> values(17);
    context_.ToHost(tensors[i], values.data());
    ASSERT_EQ(values, std::vector<int32_t>(17, i));
  }
}

TEST_F(CudaDevice, MemoryThatRunsOutIsSaidInBytes) {
  const int64_t too_much = static_cast<int64_t>(device_->memory().total) + 1;
  try {
    context_.Empty({too_much}, DType::kU8);
    FAIL() << "more than there is";
  } catch (const OutOfMemory& error) {
    EXPECT_THAT(error.what(), HasSubstr("out of memory"));
    EXPECT_THAT(error.what(), HasSubstr("cuda:0 has "));
    EXPECT_THAT(error.what(), HasSubstr("slice_tokens"));
  }
}

TEST_F(CudaDevice, FreeSlabsAreGivenBackBeforeMemoryRunsOut) {
  const size_t total = device_->memory().total;
  simt::SetDeviceMemory(total - device_->memory().free + (300 << 20));
  const int64_t most = 200 << 20;
  context_.Empty({most}, DType::kU8);  // free again, but kept
  EXPECT_GE(device_->allocator().main().reserved(), static_cast<size_t>(most));
  const Tensor other = context_.Empty({most / 8 * 9}, DType::kU8);
  EXPECT_EQ(device_->allocator().main().in_use(), (other.bytes() + 255) / 256 * 256);
  simt::SetDeviceMemory(total);
}

TEST_F(CudaDevice, RecordedOperationsRunAtEachLaunch) {
  const Tensor one = FromDoubles(context_, {1, 2, 3}, {3}, DType::kF32);
  const Tensor sum = context_.Zeros({3}, DType::kF32);
  const auto zone = device_->allocator().NewZone();
  const auto body = [&] {
    const ZonedAllocator::Scope scope(device_->allocator(), *zone);
    const Tensor twice = context_.Empty({3}, DType::kF32);
    ops::Cast(context_, one, twice);
    ops::Add(context_, one, twice);
    ops::Add(context_, twice, sum);
  };
  body();
  const std::unique_ptr<DeviceGraph> graph = device_->Record(context_, body);
  EXPECT_EQ(ToDoubles(context_, sum), (std::vector<double>{2, 4, 6})) << "recording runs nothing";
  const int64_t grown = zone->grown();
  graph->Launch();
  graph->Launch();
  EXPECT_EQ(ToDoubles(context_, sum), (std::vector<double>{6, 12, 18}));
  EXPECT_EQ(zone->grown(), grown);
}

TEST_F(CudaDevice, WhatCannotBeRecordedIsABug) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const Tensor tensor = context_.Zeros({3}, DType::kF32);
  EXPECT_DEATH(device_->Record(context_, [&] { ToDoubles(context_, tensor); }), "\\[copy_to_host\\] inside recorded");
}

TEST_F(CudaDevice, AnExceptionEndsARecording) {
  EXPECT_THROW(device_->Record(context_, [] { throw OutOfMemory("none"); }), OutOfMemory);
  context_.Synchronize();  // the stream records no more
}

// The emulated library proposes two algorithms, which add in opposite orders.
class ProductChoice : public CudaDevice {
 protected:
  ProductChoice() { setenv("PHOTON_CACHE", folder_.path().c_str(), 1); }
  ~ProductChoice() override { unsetenv("PHOTON_CACHE"); }

  static std::vector<double> Multiply(OpenedDevice& device) {
    const Context context = device.MakeContext(nullptr);
    const Tensor a = RandomTensor(context, {40, 301}, DType::kF32, 1),
                 b = RandomTensor(context, {50, 301}, DType::kF32, 2);
    const Tensor c = context.Zeros({40, 50}, DType::kF32);
    ops::MatMul(context, a, false, b, true, Tensor(), 1, c);  // adds once, however often it is timed
    return ToDoubles(context, c);
  }
  std::vector<std::filesystem::path> Files() const {
    std::vector<std::filesystem::path> files;
    for (const auto& entry : std::filesystem::directory_iterator(folder_.path())) files.push_back(entry.path());
    return files;
  }

  TemporaryFolder folder_;
};

TEST_F(ProductChoice, UntimedLeavesNoFile) {
  EXPECT_EQ(Multiply(*device_), Multiply(*device_));
  EXPECT_TRUE(Files().empty());
}

TEST_F(ProductChoice, TheFastestIsRemembered) {
  device_->TimeProducts(true);
  const std::vector<double> first = Multiply(*device_);
  ASSERT_EQ(Files().size(), 1u);
  const std::string text = *ReadFile(Files()[0]);
  EXPECT_THAT(text, HasSubstr("40x50x301"));
  for (int i = 0; i < 4; ++i) {  // other processes: they take what stands in the file
    const auto again = *cuda::OpenCudaDevice(0);
    again->TimeProducts(true);
    EXPECT_EQ(Multiply(*again), first);
  }
  EXPECT_EQ(*ReadFile(Files()[0]), text);
}

TEST_F(ProductChoice, ADamagedFileIsAsGoodAsNone) {
  device_->TimeProducts(true);
  Multiply(*device_);
  const std::filesystem::path file = Files()[0];
  for (const std::string damage : {"", "{\"40x50x301", "[]", "{\"x\": 3, \"y\": [\"q\"]}"}) {
    std::ofstream(file) << damage;
    const auto again = *cuda::OpenCudaDevice(0);
    again->TimeProducts(true);
    Multiply(*again);
    EXPECT_THAT(*ReadFile(file), HasSubstr("40x50x301")) << damage;
  }
}

TEST(AlgorithmCache, RanksKeepWhatOthersFound) {
  const TemporaryFolder folder;
  cuda::AlgorithmCache one(folder.path(), "chip"), other(folder.path(), "chip");
  one.Add("a", {1, 2, 3, 4, 5, 6, 7, 0xfedcba9876543210});
  other.Add("b", {8});
  const cuda::AlgorithmCache later(folder.path(), "chip"), of_another(folder.path(), "chip 2");
  EXPECT_EQ(later.Find("a"), (cuda::AlgorithmCache::Algorithm{1, 2, 3, 4, 5, 6, 7, 0xfedcba9876543210}));
  EXPECT_EQ(later.Find("b"), cuda::AlgorithmCache::Algorithm{8});
  EXPECT_EQ(of_another.Find("a"), std::nullopt);
}

}  // namespace
}  // namespace photon
