// The emulator itself: that it computes what a GPU does, and finds what it is there to find.
#include "simt.h"

#include <cuda_runtime.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <random>
#include <vector>

#include "core/dtype.h"
#include "tests/simt/emulator/device.h"
#include "tests/simt/emulator/device_memory.h"
#include "tests/simt/emulator/order.h"
#include "tests/simt/launches.h"

namespace photon::cuda {
namespace {

using simt::ThreadOrder;

__global__ void Shuffles(int* out) {
  const int lane = threadIdx.x;
  out[lane] = __shfl_xor_sync(kAllLanes, lane, 5);
  out[32 + lane] = __shfl_down_sync(kAllLanes, lane, 3, 8);
  out[64 + lane] = __shfl_up_sync(kAllLanes, lane, 2);
  out[96 + lane] = __shfl_sync(kAllLanes, lane, 9, 16);
  out[128 + lane] = static_cast<int>(__ballot_sync(kAllLanes, lane % 3 == 0));
  // Two halves of a warp in different branches.
  if (lane < 16) {
    out[160 + lane] = __shfl_xor_sync(0x0000ffffu, lane, 1);
  } else {
    out[160 + lane] = __shfl_xor_sync(0xffff0000u, lane, 2);
  }
}

TEST(Simt, LanesExchangeValuesAsDocumented) {
  const Buffer<int> out(192);
  ASSERT_EQ(Start(Shuffles, 1, 32, 0, out.data), cudaSuccess);
  const std::vector<int> got = out.Values();
  unsigned thirds = 0;
  for (int lane = 0; lane < 32; lane += 3) thirds |= 1u << lane;
  for (int lane = 0; lane < 32; ++lane) {
    EXPECT_EQ(got[lane], lane ^ 5);
    EXPECT_EQ(got[32 + lane], lane % 8 + 3 < 8 ? lane + 3 : lane);
    EXPECT_EQ(got[64 + lane], lane >= 2 ? lane - 2 : lane);
    EXPECT_EQ(got[96 + lane], lane / 16 * 16 + 9);
    EXPECT_EQ(static_cast<unsigned>(got[128 + lane]), thirds);
    EXPECT_EQ(got[160 + lane], lane < 16 ? lane ^ 1 : lane ^ 2);
  }
}

__global__ void Rotate(int* out, bool barrier) {
  int* shared = DynamicShared<int>();
  shared[threadIdx.x] = static_cast<int>(threadIdx.x);
  if (barrier) __syncthreads();
  out[threadIdx.x] = shared[(threadIdx.x + 40) % blockDim.x];
}

std::vector<int> RotatedIn(ThreadOrder order, bool barrier) {
  const Buffer<int> out(128);
  simt::SetThreadOrder(order);
  EXPECT_EQ(Start(Rotate, 1, 128, 128 * sizeof(int), out.data, barrier), cudaSuccess);
  const std::vector<int> values = out.Values();
  simt::SetThreadOrder({});
  return values;
}

TEST(Simt, AnotherOrderFindsAMissingBarrier) {
  const std::vector<int> want = RotatedIn({ThreadOrder::kFirst}, true);
  for (int i = 0; i < 128; ++i) EXPECT_EQ(want[i], (i + 40) % 128);
  for (const ThreadOrder order : {ThreadOrder{ThreadOrder::kLast}, ThreadOrder{ThreadOrder::kRandom, 7}}) {
    EXPECT_EQ(RotatedIn(order, true), want);
    EXPECT_NE(RotatedIn(order, false), RotatedIn({ThreadOrder::kFirst}, false));
  }
}

__global__ void HalfTheBlockWaits() {
  if (threadIdx.x < 32) __syncthreads();
}
__global__ void LanesAtDifferentInstructions() {
  if (threadIdx.x < 16) {
    __syncwarp();
  } else {
    __shfl_sync(kAllLanes, 1, 0);
  }
}
__global__ void WritesPastSharedMemory() { DynamicShared<char>()[100] = 1; }
__global__ void ReadsMisaligned(const char* data, float4* out) { *out = *reinterpret_cast<const float4*>(data + 4); }
__global__ void WritesFarAway(float* data) { data[1 << 20] = 1; }

TEST(SimtDeathTest, SaysWhatIsWrongAndWhere) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(Start(HalfTheBlockWaits, 1, 64, 0), "never come.*\n.*thread \\(0, 0, 0\\) waits in __syncthreads");
  EXPECT_DEATH(Start(LanesAtDifferentInstructions, 1, 32, 0), "different instructions");
  EXPECT_DEATH(Start(WritesPastSharedMemory, 1, 1, 100), "past its dynamic shared memory");
  const Buffer<float4> buffer(2);
  EXPECT_DEATH(Start(ReadsMisaligned, 1, 1, 0, reinterpret_cast<const char*>(buffer.data), buffer.data), "misaligned");
  const Buffer<float> small(4);
  EXPECT_DEATH(Start(WritesFarAway, 1, 1, 0, small.data), "outside all allocations");
  EXPECT_DEATH(EXPECT_EQ(*small.data, 0), "host touched device memory");
}

// The tile's element [i][j] is 8 i + j, and tile t's 64 t more.
__global__ void LoadTiles(uint32_t* out) {
  uint16_t* tiles = DynamicShared<uint16_t>();
  for (int i = threadIdx.x; i < 256; i += 32) tiles[i] = static_cast<uint16_t>(i);
  __syncwarp();
  uint32_t plain[4], transposed[4];
  LoadMatrix4(plain, tiles + threadIdx.x * 8);
  LoadMatrix4Transposed(transposed, tiles + threadIdx.x * 8);
  for (int t = 0; t < 4; ++t) {
    out[t * 32 + threadIdx.x] = plain[t];
    out[(4 + t) * 32 + threadIdx.x] = transposed[t];
    out[(8 + t) * 32 + threadIdx.x] = TransposeMatrix(plain[t]);
  }
}

TEST(Simt, TilesAreLoadedInThePtxIsasLayout) {
  const Buffer<uint32_t> out(12 * 32);
  ASSERT_EQ(Start(LoadTiles, 1, 32, 512, out.data), cudaSuccess);
  const std::vector<uint32_t> got = out.Values();
  for (int t = 0; t < 4; ++t) {
    for (uint32_t lane = 0; lane < 32; ++lane) {
      const uint32_t i = lane / 4, j = lane % 4 * 2, base = 64 * t;
      const uint32_t plain = (base + 8 * i + j) | (base + 8 * i + j + 1) << 16;
      const uint32_t transposed = (base + 8 * j + i) | (base + 8 * (j + 1) + i) << 16;
      EXPECT_EQ(got[t * 32 + lane], plain);
      EXPECT_EQ(got[(4 + t) * 32 + lane], transposed);
      EXPECT_EQ(got[(8 + t) * 32 + lane], transposed);
    }
  }
}

// d = a [16, 16] b [16, 8] for row-major bf16 in shared memory, as kernels do it.
__global__ void MultipliesTiles(const uint16_t* a, const uint16_t* b, float* d) {
  uint16_t* shared = DynamicShared<uint16_t>();
  uint16_t *a_tile = shared, *b_tile = shared + 256;
  for (int i = threadIdx.x; i < 256; i += 32) a_tile[i] = a[i];
  for (int i = threadIdx.x; i < 128; i += 32) b_tile[i] = b[i];
  __syncwarp();
  const int lane = threadIdx.x;
  uint32_t a_part[4], b_part[2];
  LoadMatrix4(a_part, a_tile + lane % 16 * 16 + lane / 16 * 8);
  LoadMatrix2Transposed(b_part, b_tile + lane % 16 * 8);
  float sums[4] = {};
  MmaBf16(sums, a_part, b_part);
  for (int i = 0; i < 4; ++i) d[(lane / 4 + i / 2 * 8) * 8 + lane % 4 * 2 + i % 2] = sums[i];
}

TEST(Simt, TensorCoresMultiply) {
  std::mt19937 random(1);
  // Small integers: every sum is exact, in any order.
  const auto draw = [&](int n, std::vector<float>* values) {
    std::vector<uint16_t> bits(n);
    for (int i = 0; i < n; ++i) {
      values->push_back(static_cast<float>(static_cast<int>(random() % 17) - 8));
      bits[i] = BFloat16(values->back()).bits;
    }
    return bits;
  };
  std::vector<float> a, b;
  const Buffer<uint16_t> a_bits(draw(256, &a)), b_bits(draw(128, &b));
  const Buffer<float> d(128);
  ASSERT_EQ(Start(MultipliesTiles, 1, 32, 768, a_bits.data, b_bits.data, d.data), cudaSuccess);
  const std::vector<float> got = d.Values();
  for (int i = 0; i < 16; ++i) {
    for (int j = 0; j < 8; ++j) {
      float want = 0;
      for (int k = 0; k < 16; ++k) want += a[i * 16 + k] * b[k * 8 + j];
      EXPECT_EQ(got[i * 8 + j], want);
    }
  }
}

__global__ void CopyTwice(const float* in, float* out) {
  float* shared = DynamicShared<float>();
  CopyAsync<4>(&shared[0], in);
  CopyAsyncCommit();
  CopyAsync<4>(&shared[1], in + 1, false);
  CopyAsyncCommit();
  out[0] = shared[0];
  CopyAsyncWait<1>();
  out[1] = shared[0];
  out[2] = shared[1];
  CopyAsyncWait<0>();
  out[3] = shared[1];
}

TEST(Simt, CopiesArriveAtTheWait) {
  const Buffer<float> in(std::vector<float>{3, 4}), out(4);
  ASSERT_EQ(Start(CopyTwice, 1, 1, 8, in.data, out.data), cudaSuccess);
  const std::vector<float> got = out.Values();
  EXPECT_TRUE(std::isnan(got[0]));
  EXPECT_EQ(got[1], 3);
  EXPECT_TRUE(std::isnan(got[2]));
  EXPECT_EQ(got[3], 0);  // not valid: zeros
}

__global__ void Increment(int* value) { *value += 1; }
__global__ void Nothing() {}

cudaError_t StartOn(cudaStream_t stream, int* value) {
  cudaLaunchConfig_t config = {};
  config.stream = stream;
  return cudaLaunchKernelEx(&config, Increment, value);
}

TEST(Simt, GraphsReplayWhatWasCaptured) {
  const Buffer<int> value(std::vector<int>{5});
  cudaStream_t stream, side;
  cudaEvent_t fork, join;
  for (cudaStream_t* s : {&stream, &side}) ASSERT_EQ(cudaStreamCreateWithFlags(s, cudaStreamNonBlocking), cudaSuccess);
  for (cudaEvent_t* e : {&fork, &join}) ASSERT_EQ(cudaEventCreate(e), cudaSuccess);
  ASSERT_EQ(cudaStreamBeginCapture(stream, cudaStreamCaptureModeRelaxed), cudaSuccess);
  EXPECT_EQ(cudaMemsetAsync(value.data, 0, sizeof(int), stream), cudaSuccess);
  EXPECT_EQ(cudaEventRecord(fork, stream), cudaSuccess);
  EXPECT_EQ(cudaStreamWaitEvent(side, fork), cudaSuccess);
  EXPECT_EQ(StartOn(side, value.data), cudaSuccess);
  EXPECT_EQ(cudaEventRecord(join, side), cudaSuccess);
  EXPECT_EQ(cudaStreamWaitEvent(stream, join), cudaSuccess);
  EXPECT_EQ(StartOn(stream, value.data), cudaSuccess);
  cudaGraph_t graph;
  ASSERT_EQ(cudaStreamEndCapture(stream, &graph), cudaSuccess);
  EXPECT_EQ(value.Values()[0], 5);  // nothing ran yet
  cudaGraphExec_t executable;
  ASSERT_EQ(cudaGraphInstantiate(&executable, graph, 0), cudaSuccess);
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(cudaGraphLaunch(executable, stream), cudaSuccess);
    EXPECT_EQ(cudaStreamSynchronize(stream), cudaSuccess);
    EXPECT_EQ(value.Values()[0], 2);
  }
  cudaGraphExecDestroy(executable);
  cudaGraphDestroy(graph);

  // What CUDA refuses: waiting, and work on a stream that is not joined again.
  ASSERT_EQ(cudaStreamBeginCapture(stream, cudaStreamCaptureModeRelaxed), cudaSuccess);
  EXPECT_EQ(cudaStreamSynchronize(stream), cudaErrorStreamCaptureUnsupported);
  EXPECT_EQ(cudaStreamEndCapture(stream, &graph), cudaErrorStreamCaptureInvalidated);
  ASSERT_EQ(cudaStreamBeginCapture(stream, cudaStreamCaptureModeRelaxed), cudaSuccess);
  EXPECT_EQ(cudaEventRecord(fork, stream), cudaSuccess);
  EXPECT_EQ(cudaStreamWaitEvent(side, fork), cudaSuccess);
  EXPECT_EQ(StartOn(side, value.data), cudaSuccess);
  EXPECT_EQ(cudaStreamEndCapture(stream, &graph), cudaErrorStreamCaptureUnjoined);
  for (cudaStream_t s : {stream, side}) cudaStreamDestroy(s);
  for (cudaEvent_t e : {fork, join}) cudaEventDestroy(e);
}

TEST(Simt, QueuedWorkRunsWhenTheHostWaits) {
  const Buffer<int> value(std::vector<int>{0});
  cudaStream_t stream;
  int* pinned;
  ASSERT_EQ(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), cudaSuccess);
  ASSERT_EQ(cudaMallocHost(&pinned, sizeof(int)), cudaSuccess);
  *pinned = -1;
  EXPECT_EQ(StartOn(stream, value.data), cudaSuccess);
  EXPECT_EQ(cudaMemcpyAsync(pinned, value.data, sizeof(int), cudaMemcpyDeviceToHost, stream), cudaSuccess);
  EXPECT_EQ(*pinned, -1);
  EXPECT_EQ(cudaStreamSynchronize(stream), cudaSuccess);
  EXPECT_EQ(*pinned, 1);
  cudaFreeHost(pinned);
  cudaStreamDestroy(stream);
}

TEST(Simt, RefusesWhatPassesTheLimits) {
  EXPECT_EQ(Start(Nothing, 1, 1025, 0), cudaErrorInvalidConfiguration);
  EXPECT_EQ(Start(Nothing, dim3(1, 65536), 1, 0), cudaErrorInvalidConfiguration);
  EXPECT_EQ(Start(Nothing, 1, 1, 49 << 10), cudaErrorInvalidValue);
  EXPECT_EQ(cudaFuncSetAttribute(Nothing, cudaFuncAttributeMaxDynamicSharedMemorySize, 228 << 10),
            cudaErrorInvalidValue);
  EXPECT_EQ(cudaFuncSetAttribute(Nothing, cudaFuncAttributeMaxDynamicSharedMemorySize, 227 << 10), cudaSuccess);
  EXPECT_EQ(Start(Nothing, 1, 1, 227 << 10), cudaSuccess);
  const size_t before = simt::DeviceMemoryTotal();
  simt::SetDeviceMemory(1 << 20);
  void* data = nullptr;
  EXPECT_EQ(cudaMalloc(&data, 2 << 20), cudaErrorMemoryAllocation);
  simt::SetDeviceMemory(before);
  const Buffer<char> small(16);
  EXPECT_EQ(cudaMemset(small.data, 0, 17), cudaErrorInvalidValue);
}

__global__ void SumsOfShared(float* out) {
  __shared__ float values[32];
  if (threadIdx.x < 31) values[threadIdx.x] = 1;
  __syncthreads();
  out[threadIdx.x] = values[threadIdx.x];
}

TEST(Simt, SharedMemoryBeginsAsNan) {
  const Buffer<float> out(32);
  for (int i = 0; i < 2; ++i) {
    ASSERT_EQ(Start(SumsOfShared, 1, 32, 0, out.data), cudaSuccess);
    const std::vector<float> got = out.Values();
    EXPECT_EQ(got[30], 1);
    EXPECT_TRUE(std::isnan(got[31]));
  }
}

}  // namespace
}  // namespace photon::cuda
