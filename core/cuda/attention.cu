// Which kernels do attention: windows, long streams on tensor cores, or the plain ones for what neither takes.
#include "core/cuda/attention_stream.h"
#include "core/cuda/attention_window.h"
#include "core/cuda/kernels.h"
#include "core/cuda/queue.h"

namespace photon::cuda {
namespace {

struct Kernels {
  ops::AttentionForwardFn* forward;
  ops::AttentionBackwardFn* backward;
};

// Bound by memory up to kLongestWindow, by arithmetic above. Rows against other keys than their own are streams, as the
// whole that they are a part of: which kernels take them depends on its length.
Kernels KernelsFor(const Context& context, const ops::AttentionShape& shape, DType dtype) {
  if (shape.keys_are_rows() && shape.length <= kLongestWindow) return {WindowForward, WindowBackward};
  if (dtype != DType::kBF16 || shape.head_dim > kWidestMmaHead) return {StreamForwardPlain, StreamBackwardPlain};
  if (shape.key_count() < QueueOf(context).warpgroups_from) return {StreamForwardMma, StreamBackwardMma};
  return {StreamForwardWarpgroup,
          shape.head_dim <= kWidestWarpgroupBackward ? StreamBackwardWarpgroup : StreamBackwardMma};
}

}  // namespace

void AttentionForward(const Context& context, const Tensor& q, const Tensor& k, const Tensor& v,
                      const ops::AttentionShape& shape, const Tensor& out, const Tensor& lse) {
  KernelsFor(context, shape, q.dtype()).forward(context, q, k, v, shape, out, lse);
}

void AttentionBackward(const Context& context, const Tensor& dout, const Tensor& q, const Tensor& k, const Tensor& v,
                       const Tensor& out, const Tensor& lse, const ops::AttentionShape& shape, const Tensor& dq,
                       const Tensor& dk, const Tensor& dv) {
  KernelsFor(context, shape, q.dtype()).backward(context, dout, q, k, v, out, lse, shape, dq, dk, dv);
}

}  // namespace photon::cuda
