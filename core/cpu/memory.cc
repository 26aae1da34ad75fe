#include <cstring>

#include "core/cpu/kernels.h"

namespace photon::cpu {

void CopyToHost(const Context&, const Tensor& tensor, void* host) { std::memcpy(host, tensor.raw(), tensor.bytes()); }
void CopyFromHost(const Context&, const void* host, const Tensor& tensor) {
  if (tensor.bytes() > 0) std::memcpy(tensor.raw(), host, tensor.bytes());  // `host` may be null where there is nothing
}
void Synchronize(const Context&) {}  // every operation is done on return
void Zero(const Context&, const Tensor& tensor) { std::memset(tensor.raw(), 0, tensor.bytes()); }

}  // namespace photon::cpu
