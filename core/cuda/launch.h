// Queuing kernels. Errors throw DeviceError (core/device.h), naming the operation.
#pragma once

#include <cuda_runtime.h>

#include <algorithm>
#include <cstdint>
#include <utility>

#include "core/cuda/error.h"
#include "core/cuda/queue.h"

namespace photon::cuda {

inline int64_t CeilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Blocks of a kernel whose threads walk over `items` with the grid's stride: enough to fill the device `waves` times.
inline unsigned StrideGrid(const Context& context, int64_t items, int per_block, int blocks_per_multiprocessor) {
  const int64_t most = int64_t{QueueOf(context).multiprocessors} * blocks_per_multiprocessor;
  return static_cast<unsigned>(std::max<int64_t>(1, std::min(CeilDiv(items, per_block), most)));
}

// Queues `kernel`; nothing where the grid is empty. `shared`: dynamic shared memory in bytes.
template <typename... Parameters, typename... Arguments>
void Launch(const Context& context, const char* operation, void (*kernel)(Parameters...), dim3 grid, dim3 block,
            size_t shared, Arguments&&... arguments) {
  if (grid.x == 0 || grid.y == 0 || grid.z == 0) return;
  // 48 KiB less what a kernel holds for itself: none here that also takes dynamic memory has more than 8.
  constexpr size_t kWithoutAsking = 40 << 10;
  if (shared > kWithoutAsking) {
    Check(cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel), cudaFuncAttributeMaxDynamicSharedMemorySize,
                               static_cast<int>(shared)),
          context, operation);
  }
  cudaLaunchConfig_t config = {};
  config.gridDim = grid;
  config.blockDim = block;
  config.dynamicSmemBytes = shared;
  config.stream = QueueOf(context).stream;
  const cudaError_t error = cudaLaunchKernelEx(&config, kernel, std::forward<Arguments>(arguments)...);
  if (error != cudaSuccess) LaunchFailed(error, context, operation, grid, block, shared);
}

}  // namespace photon::cuda
