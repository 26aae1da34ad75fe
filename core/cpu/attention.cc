#include "core/cpu/attention.h"

#include "core/cpu/kernels.h"

namespace photon::cpu {
namespace {

void CheckFirstKey(const ops::AttentionShape& shape) {
  if (!shape.first_key.defined()) return;
  const int32_t* first = shape.first_key.data<int32_t>();
  for (int64_t row = 0; row < shape.batch * shape.length; ++row) {
    const int64_t i = row % shape.length;
    PHOTON_CHECK((i == 0 ? 0 : first[row - 1]) <= first[row] && first[row] <= shape.offset + i)
        << "[attention] first_key " << first[row] << " of row " << i << " of sequence " << row / shape.length;
  }
}

}  // namespace

void AttentionForward(const Context& context, const Tensor& q, const Tensor& k, const Tensor& v,
                      const ops::AttentionShape& shape, const Tensor& out, const Tensor& lse) {
  CheckFirstKey(shape);
  (IsWindow(shape, q.dtype()) ? WindowForward : StreamForward)(context, q, k, v, shape, out, lse);
}

void AttentionBackward(const Context& context, const Tensor& dout, const Tensor& q, const Tensor& k, const Tensor& v,
                       const Tensor& out, const Tensor& lse, const ops::AttentionShape& shape, const Tensor& dq,
                       const Tensor& dk, const Tensor& dv) {
  CheckFirstKey(shape);
  (IsWindow(shape, q.dtype()) ? WindowBackward : StreamBackward)(context, dout, q, k, v, out, lse, shape, dq, dk, dv);
}

}  // namespace photon::cpu
