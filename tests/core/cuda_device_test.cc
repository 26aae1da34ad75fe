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
#include <optional>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/backend.h"
#include "core/cuda/algorithm_cache.h"
#include "core/cuda/backend.h"
#include "core/cuda/opened_device.h"
#include "core/file.h"
#include "core/ops/attention.h"
#include "core/ops/cached_attention.h"
#include "core/ops/elementwise.h"
#include "core/ops/matmul.h"
#include "core/ops/memory.h"
#include "core/ops/swiglu.h"
#include "tests/simt/emulator/device.h"
#include "tests/simt/emulator/device_memory.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/tensors.h"

namespace photon {
namespace {

using ::testing::AllOf;
using testing::FromDoubles;
using ::testing::HasSubstr;
using ::testing::Not;
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

// Leaves the emulated GPU and the environment as they were.
class CudaDeviceSettings : public ::testing::Test {
 protected:
  CudaDeviceSettings() {
    if (const char* const given = std::getenv(kWarpgroupsFrom); given != nullptr) given_ = given;
  }
  ~CudaDeviceSettings() override {
    given_.has_value() ? setenv(kWarpgroupsFrom, given_->c_str(), 1) : unsetenv(kWarpgroupsFrom);
    simt::SetDeviceCount(1);
    simt::SetDriverVersion(CUDART_VERSION);
    simt::SetCapability(9, 0);
  }
  static std::string Refused() {
    const absl::Status status = cuda::OpenCudaDevice(0).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
    return std::string(status.message());
  }
  // Names of kernels of a forward and a backward pass.
  static std::string AttentionKernels(int64_t length, int64_t head_dim) {
    const auto device = *cuda::OpenCudaDevice(0);
    const Context context = device->MakeContext(nullptr);
    const ops::AttentionShape shape = {
        .batch = 1, .length = length, .heads = 1, .kv_heads = 1, .head_dim = head_dim, .first_key = {}};
    const auto empty = [&] { return RandomTensor(context, {length, head_dim}, DType::kBF16, 1); };
    const Tensor q = empty(), out = empty(), dq = empty(), dk = empty(), dv = empty();
    const Tensor lse = context.Empty({1, length}, DType::kF32);
    simt::TakeLaunches();
    ops::AttentionForward(context, q, q, q, shape, out, lse);
    ops::AttentionBackward(context, q, q, q, q, out, lse, shape, dq, dk, dv);
    context.Synchronize();
    return absl::StrJoin(simt::TakeLaunches(), ", ");
  }
  static constexpr const char* kWarpgroupsFrom = "PHOTON_WARPGROUPS_FROM";

 private:
  std::optional<std::string> given_;
};

TEST_F(CudaDeviceSettings, WhatCannotBeUsedIsToldWithItsRemedy) {
  simt::SetDriverVersion(12040);
  EXPECT_THAT(Refused(), HasSubstr("driver is too old, made for CUDA 12.4; CUDA 13.0 needs NVIDIA's driver 580"));
  simt::SetDriverVersion(0);
  EXPECT_THAT(Refused(), HasSubstr("driver can't be used; CUDA 13.0 needs"));
  simt::SetDriverVersion(CUDART_VERSION);
  simt::SetDeviceCount(0);
  EXPECT_THAT(Refused(), HasSubstr("the driver shows this process no GPU"));
  simt::SetDeviceCount(1);
  simt::SetCapability(7, 5);
  EXPECT_THAT(Refused(), HasSubstr("cuda:0 is emulated GPU, of compute capability 7.5; at least 8.0 is needed"));
}

TEST_F(CudaDeviceSettings, OnlyHopperGetsItsKernelsAndOnlyLongStreams) {
  unsetenv(kWarpgroupsFrom);
  EXPECT_THAT(AttentionKernels(511, 64), Not(HasSubstr("Warpgroup")));
  const std::string narrow = AttentionKernels(512, 64), wide = AttentionKernels(512, 128);
  for (const char* kernel : {"WarpgroupForward", "WarpgroupKeyGradient", "WarpgroupQueryGradient"}) {
    EXPECT_THAT(narrow, HasSubstr(kernel));
  }
  EXPECT_THAT(wide, AllOf(HasSubstr("WarpgroupForward"), HasSubstr("StreamKeyGradient")));
  setenv(kWarpgroupsFrom, "600", 1);
  EXPECT_THAT(AttentionKernels(512, 64), AllOf(Not(HasSubstr("Warpgroup")), HasSubstr("StreamForward")));
  setenv(kWarpgroupsFrom, "0", 1);
  EXPECT_THAT(AttentionKernels(100, 64), HasSubstr("WarpgroupForward"));
  for (const auto& [major, minor] : {std::pair(8, 0), std::pair(8, 9), std::pair(10, 0), std::pair(12, 0)}) {
    simt::SetCapability(major, minor);
    EXPECT_THAT(AttentionKernels(512, 64), Not(HasSubstr("Warpgroup"))) << major << "." << minor;
  }
}

TEST_F(CudaDeviceSettings, ALengthThatIsNoneIsRefused) {
  for (const char* wrong : {"1k", "", "-1"}) {
    setenv(kWarpgroupsFrom, wrong, 1);
    const absl::Status status = cuda::OpenCudaDevice(0).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(status.message()),
                HasSubstr(absl::StrCat("PHOTON_WARPGROUPS_FROM is \"", wrong, "\": give the least")));
  }
}

// Which of several kernels takes a product or caches: others' tests would pass with any.
TEST_F(CudaDeviceSettings, TensorCoresTakeWhatTheyCan) {
  const auto device = *cuda::OpenCudaDevice(0);
  const Context context = device->MakeContext(nullptr);
  const auto product = [&](DType dtype, int64_t k) {
    const Tensor a = RandomTensor(context, {3, k}, dtype, 1), b = RandomTensor(context, {9, k}, dtype, 2);
    simt::TakeLaunches();
    ops::MatMul(context, a, false, b, true, Tensor(), 0, context.Empty({3, 9}, dtype));
    context.Synchronize();
    return absl::StrJoin(simt::TakeLaunches(), ", ");
  };
  EXPECT_THAT(product(DType::kBF16, 40), HasSubstr("FewRowsMmaKernel"));
  for (const std::string& name : {product(DType::kBF16, 41), product(DType::kF32, 40)}) {
    EXPECT_THAT(name, AllOf(HasSubstr("FewRowsKernel"), Not(HasSubstr("Mma"))));
  }
  const auto cached = [&](DType dtype, int64_t head_dim, int64_t rows, int64_t length) {
    const ops::AttentionShape shape = {.heads = 2, .kv_heads = 2, .head_dim = head_dim, .first_key = {}};
    const Tensor q = RandomTensor(context, {rows, 2 * head_dim}, dtype, 1), out = context.Empty(q.shape(), dtype);
    const Tensor block = RandomTensor(context, {1, 2, length, 2 * head_dim}, dtype, 2);
    const int64_t base = reinterpret_cast<int64_t>(block.raw());
    const int32_t held = static_cast<int32_t>(length - rows);
    const ops::CacheTable table = {.bases = context.FromHost(&base, {1}, DType::kI64),
                                   .capacities = context.FromHost(&length, {1}, DType::kI64),
                                   .lengths = context.FromHost(&held, {1}, DType::kI32),
                                   .rows = rows,
                                   .longest = length};
    simt::TakeLaunches();
    ops::CachedAttention(context, q, table, shape, out);
    context.Synchronize();
    return absl::StrJoin(simt::TakeLaunches(), ", ");
  };
  EXPECT_THAT(cached(DType::kBF16, 64, 1, 16), HasSubstr("CachedShortKernel"));
  EXPECT_THAT(cached(DType::kBF16, 52, 1, 40), HasSubstr("CachedMmaKernel"));
  EXPECT_THAT(cached(DType::kBF16, 64, 1, 200), AllOf(HasSubstr("CachedMmaKernel"), HasSubstr("CombineBlocks")));
  EXPECT_THAT(cached(DType::kBF16, 64, 150, 200), AllOf(HasSubstr("CachedMmaKernel"), Not(HasSubstr("Combine"))));
  for (const std::string& name :
       {cached(DType::kBF16, 66, 1, 200), cached(DType::kBF16, 136, 1, 200), cached(DType::kF32, 64, 1, 200)}) {
    EXPECT_THAT(name, AllOf(HasSubstr("CachedBlocks"), Not(HasSubstr("Mma"))));
  }
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
    EXPECT_THAT(error.what(), HasSubstr(absl::StrCat("(for a tensor u8[", too_much, "]), in ")));
  }
}

TEST_F(CudaDevice, MemoryThatRunsOutIsToldWithTheOperation) {
  Tape tape(context_, Tape::Mode::kEvaluate);
  const int64_t rows = static_cast<int64_t>(device_->memory().total) / 16;
  const Tensor x = context_.Empty({rows, 1}, DType::kF32);  // the rest of what is said to be there is not
  try {
    ops::SwiGlu(tape, tape.Leaf(Tensor::Wrap(x.raw(), {rows, 32}, DType::kF32, context_.device())));
    FAIL() << "more than there is";
  } catch (const OutOfMemory& error) {
    EXPECT_THAT(error.what(), HasSubstr(absl::StrCat("(for a tensor f32[", rows, ", 16]), in ops::SwiGlu")));
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
