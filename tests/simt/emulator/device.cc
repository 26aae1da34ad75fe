#include "tests/simt/emulator/device.h"

#include <atomic>
#include <cstdio>
#include <cstring>

#include "tests/simt/emulator/device_memory.h"
#include "tests/simt/emulator/runtime.h"
#include "tests/simt/emulator/shared_memory.h"
#include "tests/simt/emulator/stream.h"

namespace photon::simt {
namespace {

std::atomic<int> device_count = 1, driver_version = CUDART_VERSION, capability = 90;
thread_local int current_device = 0;

bool Exists(int device) { return device >= 0 && device < device_count; }

}  // namespace

void SetDeviceCount(int count) { device_count = count; }
void SetDriverVersion(int version) { driver_version = version; }
void SetCapability(int major, int minor) { capability = 10 * major + minor; }
int CurrentDevice() { return current_device; }

}  // namespace photon::simt

using namespace photon::simt;

cudaError_t cudaGetLastError() { return DeviceError(); }
cudaError_t cudaPeekAtLastError() { return DeviceError(); }

namespace {

struct ErrorText {
  cudaError_t error;
  const char* name;
  const char* text;
};
#define PHOTON_SIMT_ERROR(name, text) \
  { cudaError##name, "cudaError" #name, text }
constexpr ErrorText kErrors[] = {
    {cudaSuccess, "cudaSuccess", "no error"},
    PHOTON_SIMT_ERROR(InvalidValue, "invalid argument"),
    PHOTON_SIMT_ERROR(MemoryAllocation, "out of memory"),
    PHOTON_SIMT_ERROR(InitializationError, "initialization error"),
    PHOTON_SIMT_ERROR(InvalidConfiguration, "invalid configuration argument"),
    PHOTON_SIMT_ERROR(InvalidDevicePointer, "invalid device pointer"),
    PHOTON_SIMT_ERROR(InvalidMemcpyDirection, "invalid copy direction for memcpy"),
    PHOTON_SIMT_ERROR(InsufficientDriver, "CUDA driver version is insufficient for CUDA runtime version"),
    PHOTON_SIMT_ERROR(DevicesUnavailable, "CUDA-capable device(s) is/are busy or unavailable"),
    PHOTON_SIMT_ERROR(InvalidDeviceFunction, "invalid device function"),
    PHOTON_SIMT_ERROR(NoDevice, "no CUDA-capable device is detected"),
    PHOTON_SIMT_ERROR(InvalidDevice, "invalid device ordinal"),
    PHOTON_SIMT_ERROR(NoKernelImageForDevice, "no kernel image is available for execution on the device"),
    PHOTON_SIMT_ERROR(ECCUncorrectable, "uncorrectable ECC error encountered"),
    PHOTON_SIMT_ERROR(InvalidResourceHandle, "invalid resource handle"),
    PHOTON_SIMT_ERROR(IllegalState, "the operation cannot be performed in the present state"),
    PHOTON_SIMT_ERROR(NotReady, "device not ready"),
    PHOTON_SIMT_ERROR(IllegalAddress, "an illegal memory access was encountered"),
    PHOTON_SIMT_ERROR(LaunchOutOfResources, "too many resources requested for launch"),
    PHOTON_SIMT_ERROR(LaunchTimeout, "the launch timed out and was terminated"),
    PHOTON_SIMT_ERROR(Assert, "device-side assert triggered"),
    PHOTON_SIMT_ERROR(HardwareStackError, "hardware stack error"),
    PHOTON_SIMT_ERROR(IllegalInstruction, "an illegal instruction was encountered"),
    PHOTON_SIMT_ERROR(MisalignedAddress, "misaligned address"),
    PHOTON_SIMT_ERROR(InvalidAddressSpace, "operation not supported on global/shared address space"),
    PHOTON_SIMT_ERROR(InvalidPc, "invalid program counter"),
    PHOTON_SIMT_ERROR(LaunchFailure, "unspecified launch failure"),
    PHOTON_SIMT_ERROR(NotSupported, "operation not supported"),
    PHOTON_SIMT_ERROR(SystemNotReady, "system not yet initialized"),
    PHOTON_SIMT_ERROR(SystemDriverMismatch, "system has unsupported display driver / cuda driver combination"),
    PHOTON_SIMT_ERROR(StreamCaptureUnsupported, "operation not permitted when stream is capturing"),
    PHOTON_SIMT_ERROR(StreamCaptureInvalidated, "operation failed due to a previous error during capture"),
    PHOTON_SIMT_ERROR(StreamCaptureMerge, "operation would result in a merge of separate capture sequences"),
    PHOTON_SIMT_ERROR(StreamCaptureUnmatched, "capture was not ended in the same stream as it began"),
    PHOTON_SIMT_ERROR(StreamCaptureUnjoined, "capturing stream has unjoined work"),
    PHOTON_SIMT_ERROR(StreamCaptureIsolation, "dependency created on uncaptured work in another stream"),
    PHOTON_SIMT_ERROR(StreamCaptureImplicit,
                      "operation would make the legacy stream depend on a capturing blocking stream"),
    PHOTON_SIMT_ERROR(CapturedEvent, "operation not permitted on an event last recorded in a capturing stream"),
    PHOTON_SIMT_ERROR(StreamCaptureWrongThread,
                      "attempt to terminate a thread-local capture sequence from another thread"),
};
#undef PHOTON_SIMT_ERROR

const ErrorText& Find(cudaError_t error) {
  static constexpr ErrorText kUnknown = {cudaErrorUnknown, "cudaErrorUnknown", "unknown error"};
  for (const ErrorText& known : kErrors) {
    if (known.error == error) return known;
  }
  return kUnknown;
}

}  // namespace

const char* cudaGetErrorName(cudaError_t error) { return Find(error).name; }
const char* cudaGetErrorString(cudaError_t error) { return Find(error).text; }

cudaError_t cudaGetDeviceCount(int* count) {
  if (device_count == 0) return cudaErrorNoDevice;
  *count = device_count;
  return cudaSuccess;
}

cudaError_t cudaSetDevice(int device) {
  if (!Exists(device)) return cudaErrorInvalidDevice;
  current_device = device;
  return DeviceError();
}

cudaError_t cudaGetDevice(int* device) {
  *device = current_device;
  return cudaSuccess;
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  if (!Exists(device)) return cudaErrorInvalidDevice;
  cudaDeviceProp& p = *properties;
  p = {};
  std::snprintf(p.name, sizeof(p.name), "emulated GPU");
  p.uuid.bytes[0] = static_cast<char>(device);
  p.totalGlobalMem = DeviceMemoryTotal();
  p.sharedMemPerBlock = kSharedWithoutAsking;
  p.sharedMemPerBlockOptin = kSharedPerBlock;
  p.sharedMemPerMultiprocessor = kSharedPerMultiprocessor;
  p.regsPerBlock = p.regsPerMultiprocessor = 65536;
  p.warpSize = kWarpLanes;
  p.maxThreadsPerBlock = kThreadsPerBlock;
  p.maxThreadsPerMultiProcessor = kThreadsPerMultiprocessor;
  p.maxBlocksPerMultiProcessor = kBlocksPerMultiprocessor;
  p.major = capability / 10;
  p.minor = capability % 10;
  p.multiProcessorCount = kMultiprocessors;
  p.l2CacheSize = 50 << 20;
  p.memoryBusWidth = 5120;
  p.pciBusID = device + 1;
  return cudaSuccess;
}

cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device) {
  cudaDeviceProp p;
  if (const cudaError_t error = cudaGetDeviceProperties(&p, device); error != cudaSuccess) return error;
  switch (attribute) {
    case cudaDevAttrMaxThreadsPerBlock:
      *value = p.maxThreadsPerBlock;
      break;
    case cudaDevAttrMaxSharedMemoryPerBlock:
      *value = static_cast<int>(p.sharedMemPerBlock);
      break;
    case cudaDevAttrWarpSize:
      *value = p.warpSize;
      break;
    case cudaDevAttrMultiProcessorCount:
      *value = p.multiProcessorCount;
      break;
    case cudaDevAttrMaxThreadsPerMultiProcessor:
      *value = p.maxThreadsPerMultiProcessor;
      break;
    case cudaDevAttrL2CacheSize:
      *value = p.l2CacheSize;
      break;
    case cudaDevAttrComputeCapabilityMajor:
      *value = p.major;
      break;
    case cudaDevAttrComputeCapabilityMinor:
      *value = p.minor;
      break;
    case cudaDevAttrMaxSharedMemoryPerMultiprocessor:
      *value = static_cast<int>(p.sharedMemPerMultiprocessor);
      break;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin:
      *value = static_cast<int>(p.sharedMemPerBlockOptin);
      break;
    default:
      return cudaErrorInvalidValue;
  }
  return cudaSuccess;
}

cudaError_t cudaDeviceGetPCIBusId(char* id, int length, int device) {
  if (!Exists(device)) return cudaErrorInvalidDevice;
  std::snprintf(id, length, "0000:%02x:00.0", device + 1);
  return cudaSuccess;
}

cudaError_t cudaDeviceSynchronize() {
  FinishDevice(current_device);
  return DeviceError();
}

cudaError_t cudaDriverGetVersion(int* version) {
  *version = driver_version;
  return cudaSuccess;
}
cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = CUDART_VERSION;
  return cudaSuccess;
}
