#include "core/cuda/error.h"

#include "absl/strings/str_cat.h"
#include "core/device.h"

namespace photon::cuda {
namespace {

// Errors of a kernel that ran: found by whichever call looks next, and reported by every one after it.
bool OfAnEarlierKernel(cudaError_t error) {
  switch (error) {
    case cudaErrorIllegalAddress:
    case cudaErrorMisalignedAddress:
    case cudaErrorInvalidAddressSpace:
    case cudaErrorInvalidPc:
    case cudaErrorIllegalInstruction:
    case cudaErrorHardwareStackError:
    case cudaErrorLaunchFailure:
    case cudaErrorLaunchTimeout:
    case cudaErrorAssert:
      return true;
    default:
      return false;
  }
}

}  // namespace

std::string ErrorText(cudaError_t error, int device, absl::string_view what) {
  std::string text =
      absl::StrCat("cuda:", device, ", ", what, ": ", cudaGetErrorName(error), " (", cudaGetErrorString(error), ")");
  if (OfAnEarlierKernel(error)) {
    absl::StrAppend(&text,
                    "; the fault is of this operation or of one queued before it: CUDA_LAUNCH_BLOCKING=1 in the "
                    "environment finds which. The device can't be used again by this process");
  } else if (error == cudaErrorECCUncorrectable) {
    absl::StrAppend(&text,
                    "; the device's memory is faulty: nvidia-smi -q -d ECC shows the counts; use another device");
  }
  return text;
}

void Check(cudaError_t error, int device, const char* what) {
  if (error != cudaSuccess) throw DeviceError(ErrorText(error, device, what));
}

void Check(cudaError_t error, const Context& context, const char* what) { Check(error, context.device().index, what); }

void LaunchFailed(cudaError_t error, const Context& context, const char* operation, dim3 grid, dim3 block,
                  size_t shared) {
  const auto text = [](const dim3& size) { return absl::StrCat(size.x, "x", size.y, "x", size.z); };
  throw DeviceError(ErrorText(error, context.device().index,
                              absl::StrCat(operation, " in ", text(grid), " blocks of ", text(block), " threads with ",
                                           shared, " bytes of shared memory")));
}

}  // namespace photon::cuda
