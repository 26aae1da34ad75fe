// The memory of the emulated devices: real memory that only kernels and copies can touch.
//
// All of it lies in one reserved region whose pages fault, but for allocations while a DeviceAccess lives. Whatever
// else touches it ends the program with a message: the host at any time, a kernel outside all allocations. Fresh memory
// is full of NaN (0xff bytes). Thread-safe.
#pragma once

#include <cstddef>

namespace photon::simt {

// Null where the device has less free memory.
void* AllocateDeviceMemory(int device, size_t bytes);
bool FreeDeviceMemory(void* data);  // false where it is no allocation's begin

// Bytes that each device has. Allocations beyond it fail.
void SetDeviceMemory(size_t bytes);
size_t DeviceMemoryTotal();
size_t DeviceMemoryFree(int device);

bool IsDeviceAddress(const void* address);
// The device whose allocation holds all of [data, data + bytes); -1: none does.
int DeviceHolding(const void* data, size_t bytes);

// Opens device memory to this process while it lives.
class DeviceAccess {
 public:
  DeviceAccess();
  ~DeviceAccess();
  DeviceAccess(const DeviceAccess&) = delete;
  DeviceAccess& operator=(const DeviceAccess&) = delete;
};

}  // namespace photon::simt
