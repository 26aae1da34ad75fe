// Errors of the CUDA runtime, in words that name device and operation and say what to do.
#pragma once

#include <cuda_runtime.h>

#include <string>

#include "absl/strings/string_view.h"
#include "core/context.h"

namespace photon::cuda {

// "cuda:0, rope: cudaErrorIllegalAddress (an illegal memory access was encountered); .."
std::string ErrorText(cudaError_t error, int device, absl::string_view what);

// Throw DeviceError (core/device.h) where `error` is one; `what` names the call or operation.
void Check(cudaError_t error, int device, const char* what);
void Check(cudaError_t error, const Context& context, const char* what);
// Throws it for a kernel, and says how that was launched.
[[noreturn]] void LaunchFailed(cudaError_t error, const Context& context, const char* operation, dim3 grid, dim3 block,
                               size_t shared);

}  // namespace photon::cuda
