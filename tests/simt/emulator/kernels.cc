// The runtime's functions on kernels: launches and their limits.
#include <algorithm>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "tests/simt/emulator/block.h"
#include "tests/simt/emulator/device.h"
#include "tests/simt/emulator/failure.h"
#include "tests/simt/emulator/runtime.h"
#include "tests/simt/emulator/shared_memory.h"
#include "tests/simt/emulator/stream.h"

using namespace photon::simt;

namespace {

struct SharedLimits {
  std::mutex mutex;
  std::map<const void*, size_t> asked;
};
SharedLimits& Limits() {
  static SharedLimits* const limits = new SharedLimits;
  return *limits;
}

size_t SharedLimit(const void* kernel) {
  std::lock_guard lock(Limits().mutex);
  const auto it = Limits().asked.find(kernel);
  return it == Limits().asked.end() ? kSharedWithoutAsking - StaticSharedBytes(kernel) : it->second;
}

struct Launches {
  std::mutex mutex;
  std::set<const void*> kernels;
};
Launches& Launched() {
  static Launches* const launches = new Launches;
  return *launches;
}

bool WithinLimits(const dim3& grid, const dim3& block) {
  const uint64_t threads = uint64_t{block.x} * block.y * block.z;
  return threads > 0 && threads <= kThreadsPerBlock && block.x <= 1024 && block.y <= 1024 && block.z <= 64 &&
         grid.x > 0 && grid.x <= 0x7fffffffu && grid.y > 0 && grid.y <= 65535 && grid.z > 0 && grid.z <= 65535;
}

}  // namespace

cudaError_t photon::simt::QueueKernel(const cudaLaunchConfig_t& config, const void* kernel,
                                      std::function<void()> thread) {
  if (!WithinLimits(config.gridDim, config.blockDim)) return cudaErrorInvalidConfiguration;
  if (config.dynamicSmemBytes > SharedLimit(kernel)) return cudaErrorInvalidValue;
  {
    std::lock_guard lock(Launched().mutex);
    Launched().kernels.insert(kernel);
  }
  const Grid grid = {config.gridDim, config.blockDim, config.dynamicSmemBytes, kernel};
  return Queue(config.stream, [grid, thread = std::move(thread)] { Run(grid, thread); });
}

std::vector<std::string> photon::simt::TakeLaunches() {
  std::lock_guard lock(Launched().mutex);
  std::vector<std::string> names;
  for (const void* kernel : std::exchange(Launched().kernels, {})) names.push_back(FunctionName(kernel));
  return names;
}

cudaError_t cudaFuncSetAttribute(const void* kernel, cudaFuncAttribute attribute, int value) {
  if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize) return cudaSuccess;
  if (value < 0 || value + StaticSharedBytes(kernel) > kSharedPerBlock) return cudaErrorInvalidValue;
  std::lock_guard lock(Limits().mutex);
  Limits().asked[kernel] = value;
  return DeviceError();
}

cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* attributes, const void* kernel) {
  *attributes = {StaticSharedBytes(kernel), kThreadsPerBlock, static_cast<int>(SharedLimit(kernel))};
  return DeviceError();
}

// As if no kernel's registers were a limit.
cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, const void* kernel, int threads, size_t shared) {
  const int warps = (threads + kWarpLanes - 1) / kWarpLanes;
  const size_t per_block = shared + StaticSharedBytes(kernel) + kSharedReserved;
  *blocks = std::min({kBlocksPerMultiprocessor, kThreadsPerMultiprocessor / (warps * kWarpLanes),
                      static_cast<int>(kSharedPerMultiprocessor / per_block)});
  return DeviceError();
}
