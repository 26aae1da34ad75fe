#include "core/ops/memory.h"

#include "core/backend.h"
#include "core/profiler.h"

namespace photon::ops {

void CopyToHost(const Context& context, const Tensor& tensor, void* host) {
  PHOTON_CHECK(tensor.contiguous()) << "[copy_to_host] strided " << tensor.ToString();
  CountTraffic(context, Traffic::kDownloaded, 2 * tensor.bytes());
  context.backend().copy_to_host(context, tensor, host);
}

void CopyFromHost(const Context& context, const void* host, const Tensor& tensor) {
  PHOTON_CHECK(tensor.contiguous()) << "[copy_from_host] strided " << tensor.ToString();
  CountTraffic(context, Traffic::kUploaded, 2 * tensor.bytes());
  context.backend().copy_from_host(context, host, tensor);
}

void Synchronize(const Context& context) { context.backend().synchronize(context); }

void Zero(const Context& context, const Tensor& tensor) {
  PHOTON_CHECK(tensor.contiguous()) << "[zero] strided " << tensor.ToString();
  CountTraffic(context, Traffic::kZeroed, tensor.bytes());
  context.backend().zero(context, tensor);
}

}  // namespace photon::ops
