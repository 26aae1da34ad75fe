// The runtime's functions on memory: allocation, copies between host and devices, pinned host memory.
#include <sys/mman.h>

#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <vector>

#include "tests/simt/emulator/device_memory.h"
#include "tests/simt/emulator/runtime.h"
#include "tests/simt/emulator/stream.h"

using namespace photon::simt;

namespace {

enum class Place { kDevice, kPinned, kPageable, kNowhere };

struct Pinned {
  std::mutex mutex;
  std::map<char*, size_t> blocks;
};
Pinned& PinnedMemory() {
  static Pinned* const pinned = new Pinned;
  return *pinned;
}

// kNowhere: device addresses that are not all of one allocation.
Place PlaceOf(const void* data, size_t bytes) {
  if (IsDeviceAddress(data)) return DeviceHolding(data, bytes) >= 0 ? Place::kDevice : Place::kNowhere;
  Pinned& pinned = PinnedMemory();
  std::lock_guard lock(pinned.mutex);
  auto it = pinned.blocks.upper_bound(static_cast<char*>(const_cast<void*>(data)));
  if (it == pinned.blocks.begin()) return Place::kPageable;
  --it;
  return static_cast<const char*>(data) + bytes <= it->first + it->second ? Place::kPinned : Place::kPageable;
}

bool Fits(cudaMemcpyKind kind, bool to_device, bool from_device) {
  return kind == cudaMemcpyDefault ||
         kind == (from_device ? to_device ? cudaMemcpyDeviceToDevice : cudaMemcpyDeviceToHost
                  : to_device ? cudaMemcpyHostToDevice
                              : cudaMemcpyHostToHost);
}

struct Rows {
  size_t to_pitch, from_pitch, width, height;

  void Copy(void* to, const void* from) const {
    for (size_t i = 0; i < height; ++i) {
      std::memmove(static_cast<char*>(to) + i * to_pitch, static_cast<const char*>(from) + i * from_pitch, width);
    }
  }
};

cudaError_t CopyRows(void* to, const void* from, const Rows& rows, cudaMemcpyKind kind, cudaStream_t stream) {
  if (DeviceError() != cudaSuccess) return DeviceError();
  if (rows.width == 0 || rows.height == 0) return cudaSuccess;
  if (rows.width > rows.to_pitch || rows.width > rows.from_pitch) return cudaErrorInvalidValue;
  const size_t from_bytes = rows.from_pitch * (rows.height - 1) + rows.width;
  const Place target = PlaceOf(to, rows.to_pitch * (rows.height - 1) + rows.width), source = PlaceOf(from, from_bytes);
  if (target == Place::kNowhere || source == Place::kNowhere) return cudaErrorInvalidValue;
  if (!Fits(kind, target == Place::kDevice, source == Place::kDevice)) return cudaErrorInvalidValue;
  if (target != Place::kPageable && source != Place::kPageable) {
    return Queue(stream, [=] { rows.Copy(to, from); });
  }
  // Memory that the device can't reach: a copy to it waits; a copy from it is staged before the call returns.
  if (const cudaError_t error = RefuseInCapture(stream); error != cudaSuccess) return error;
  if (target == Place::kPageable) {
    const cudaError_t error = Queue(stream, [=] { rows.Copy(to, from); });
    return error == cudaSuccess ? Finish(stream) : error;
  }
  const char* begin = static_cast<const char*>(from);
  return Queue(stream, [=, staged = std::vector<char>(begin, begin + from_bytes)] { rows.Copy(to, staged.data()); });
}

}  // namespace

cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
  *free = DeviceMemoryFree(CurrentDevice());
  *total = DeviceMemoryTotal();
  return DeviceError();
}

cudaError_t cudaMalloc(void** data, size_t bytes) {
  if (DeviceError() != cudaSuccess) return DeviceError();
  if (const cudaError_t error = RefuseUnsafe(); error != cudaSuccess) return error;
  *data = bytes == 0 ? nullptr : AllocateDeviceMemory(CurrentDevice(), bytes);
  return *data == nullptr && bytes > 0 ? cudaErrorMemoryAllocation : cudaSuccess;
}

cudaError_t cudaFree(void* data) {
  if (data == nullptr) return DeviceError();
  if (const cudaError_t error = RefuseUnsafe(); error != cudaSuccess) return error;
  const int device = DeviceHolding(data, 1);
  if (device >= 0) FinishDevice(device);
  return FreeDeviceMemory(data) ? DeviceError() : cudaErrorInvalidValue;
}

cudaError_t cudaHostAlloc(void** data, size_t bytes, unsigned) {
  if (DeviceError() != cudaSuccess) return DeviceError();
  if (const cudaError_t error = RefuseUnsafe(); error != cudaSuccess) return error;
  *data = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (*data == MAP_FAILED) return cudaErrorMemoryAllocation;
  std::lock_guard lock(PinnedMemory().mutex);
  PinnedMemory().blocks[static_cast<char*>(*data)] = bytes;
  return cudaSuccess;
}
cudaError_t cudaMallocHost(void** data, size_t bytes) { return cudaHostAlloc(data, bytes, cudaHostAllocDefault); }

cudaError_t cudaFreeHost(void* data) {
  if (data == nullptr) return DeviceError();
  FinishDevice(CurrentDevice());
  std::lock_guard lock(PinnedMemory().mutex);
  const auto it = PinnedMemory().blocks.find(static_cast<char*>(data));
  if (it == PinnedMemory().blocks.end()) return cudaErrorInvalidValue;
  munmap(data, it->second);
  PinnedMemory().blocks.erase(it);
  return cudaSuccess;
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind, cudaStream_t stream) {
  return CopyRows(to, from, {bytes, bytes, bytes, 1}, kind, stream);
}

cudaError_t cudaMemcpy2DAsync(void* to, size_t to_pitch, const void* from, size_t from_pitch, size_t width,
                              size_t height, cudaMemcpyKind kind, cudaStream_t stream) {
  return CopyRows(to, from, {to_pitch, from_pitch, width, height}, kind, stream);
}

cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind kind) {
  if (const cudaError_t error = RefuseUnsafe(); error != cudaSuccess) return error;
  const cudaError_t error = cudaMemcpyAsync(to, from, bytes, kind, nullptr);
  return error == cudaSuccess ? Finish(nullptr) : error;
}

cudaError_t cudaMemsetAsync(void* data, int value, size_t bytes, cudaStream_t stream) {
  if (bytes == 0) return DeviceError();
  if (PlaceOf(data, bytes) != Place::kDevice) return cudaErrorInvalidValue;
  return Queue(stream, [=] { std::memset(data, value, bytes); });
}

cudaError_t cudaMemset(void* data, int value, size_t bytes) { return cudaMemsetAsync(data, value, bytes, nullptr); }
