#include "inference/rows.h"

#include "core/ops/rows.h"

namespace photon {

Step::Value PickRows(Step& step, const Context& context, Step::Value x, absl::Span<const int32_t> index) {
  const Step::Value rows = step.Upload(index);
  return step.Do("pick", [&context, x, rows](const Step::Values& values) {
    const Tensor picked = context.Empty({values[rows].dim(0), values[x].dim(1)}, values[x].dtype());
    ops::SelectRows(context, values[x], Tensor(), values[rows], picked);
    return picked;
  });
}

Tensor UploadIds(const Context& context, absl::Span<const int32_t> ids) {
  return context.FromHost(ids.data(), {static_cast<int64_t>(ids.size())}, DType::kI32);
}

std::vector<double> ToHostDoubles(const Context& context, const Tensor& tensor) {
  std::vector<double> values(tensor.elements());
  VisitFloat(tensor.dtype(), [&](auto tag) {
    using T = decltype(tag);
    std::vector<T> raw(values.size());
    context.ToHost(tensor, raw.data());
    for (size_t i = 0; i < raw.size(); ++i) values[i] = static_cast<double>(raw[i]);
  });
  return values;
}

}  // namespace photon
