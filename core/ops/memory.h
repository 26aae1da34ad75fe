// Moving bytes between host and device, and clearing them.
#pragma once

#include "core/context.h"

namespace photon::ops {

// Contiguous tensors; `host` holds tensor.bytes(). To the host: waits until the bytes are there. From the host: `host` may
// be reused on return, and the bytes arrive in the order of the context's operations: no wait for them is needed.
using CopyToHostFn = void(const Context& context, const Tensor& tensor, void* host);
using CopyFromHostFn = void(const Context& context, const void* host, const Tensor& tensor);
// Waits for everything queued on the context.
using SynchronizeFn = void(const Context& context);
// Sets all bytes of a contiguous tensor to 0.
using ZeroFn = void(const Context& context, const Tensor& tensor);

CopyToHostFn CopyToHost;
CopyFromHostFn CopyFromHost;
SynchronizeFn Synchronize;
ZeroFn Zero;

}  // namespace photon::ops
